"""The decoder of networks over slices whose encoder is not a U-Net's: MONAI's, as its FlexibleUNet uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.nets.flexible_unet import UNetDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence


def slice_decoder(encoder: Sequence[int], decoder: Sequence[int]) -> UNetDecoder:
    """Return a decoder over the features of an encoder, from the image on; `encoder` and `decoder` are channels."""
    return UNetDecoder(
        2,
        encoder_channels=encoder,
        decoder_channels=decoder,
        act=("relu", {"inplace": True}),
        norm="batch",
        dropout=0.0,
        bias=False,
        upsample="nontrainable",
        pre_conv="default",
        interp_mode="nearest",
        align_corners=None,
        is_pad=False,
    )
