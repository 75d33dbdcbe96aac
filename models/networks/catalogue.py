"""The table of networks that a `zoo` checkpoint may name: nothing else is ever constructed from a spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from ichor.errors import ModelError
from models.networks.attention_unet import build_attention_unet
from models.networks.cascade_unet import build_cascade_unet
from models.networks.cnn_ds import build_cnn_ds
from models.networks.csr_unet import build_csr_unet
from models.networks.d_unet import build_d_unet
from models.networks.dense_unet import build_dense_unet
from models.networks.dual_fcn import build_dual_fcn
from models.networks.dynunet_r import build_dynunet_r
from models.networks.hu_windows import behind_windows
from models.networks.hybrid_unet import build_hybrid_unet
from models.networks.iha_net import build_iha_net
from models.networks.mobile_unet import build_mobile_unet
from models.networks.multiscale_cnn import build_multiscale_cnn
from models.networks.patchfcn import build_patchfcn
from models.networks.phantom_unet import build_phantom_unet
from models.networks.residual_unet import build_residual_unet
from models.networks.scse_unet import build_scse_unet
from models.networks.se_unet3d import build_se_unet3d
from models.networks.segresnet_25d import build_segresnet_25d
from models.networks.siamese_unet import build_siamese_unet
from models.networks.swin_unetr import build_swin_unetr
from models.networks.unet_2d import build_unet_2d
from models.networks.unet_3d import build_unet_3d
from models.networks.viola_unet import build_viola_unet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NETWORKS: Mapping[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "attention-unet": build_attention_unet,
    "cascade-unet": build_cascade_unet,
    "cnn-ds": build_cnn_ds,
    "csr-unet": build_csr_unet,
    "d-unet": build_d_unet,
    "dense-unet": build_dense_unet,
    "dual-fcn": build_dual_fcn,
    "dynunet-r": build_dynunet_r,
    "hybrid-unet": build_hybrid_unet,
    "iha-net": build_iha_net,
    "mobile-unet": build_mobile_unet,
    "multiscale-cnn": build_multiscale_cnn,
    "patchfcn": build_patchfcn,
    "phantom-unet": build_phantom_unet,
    "residual-unet": build_residual_unet,
    "scse-unet": build_scse_unet,
    "se-unet-3d": build_se_unet3d,
    "segresnet-2.5d": build_segresnet_25d,
    "siamese-unet": build_siamese_unet,
    "swin-unetr": build_swin_unetr,
    "unet-2d": build_unet_2d,
    "unet-3d": build_unet_3d,
    "viola-unet": build_viola_unet,
}


def build(name: str, parameters: Mapping[str, Any]) -> nn.Module:
    """Construct the network of that name with untrained weights; raise ModelError for a name not in the table.

    With `hu_windows` and `hu_range` among its parameters, it sees these windows as channels (`in_channels` of them).
    """
    builder = NETWORKS.get(name)
    if builder is None:
        raise ModelError(f"There is no network {name!r}; there are {', '.join(sorted(NETWORKS))}.")
    try:
        return behind_windows(parameters, builder)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The network {name!r} cannot be built from its parameters: {error}.") from error
