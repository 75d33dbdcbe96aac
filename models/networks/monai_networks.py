"""The table of MONAI networks that a bundle may name: nothing else is ever constructed from a bundle.

Arguments are plain values. None of these networks imports, downloads or evaluates anything that it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from monai.networks.nets.attentionunet import AttentionUnet
from monai.networks.nets.basic_unet import BasicUNet
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.highresnet import HighResNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.segresnet_ds import SegResNetDS
from monai.networks.nets.swin_unetr import SwinUNETR
from monai.networks.nets.unet import UNet
from monai.networks.nets.unetr import UNETR
from monai.networks.nets.vnet import VNet
from torch.overrides import TorchFunctionMode

from ichor.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import nn

NETWORKS: Mapping[str, type[nn.Module]] = {
    network.__name__: network
    for network in (
        AttentionUnet,
        BasicUNet,
        DynUNet,
        HighResNet,
        SegResNet,
        SegResNetDS,
        SwinUNETR,
        UNETR,
        UNet,
        VNet,
    )
}

_PACKAGE = "monai.networks.nets."
MOST_PARAMETERS = 1_000_000_000
"""More is a mistake, or meant to exhaust the memory."""


class _NumbersOnCpu(TorchFunctionMode):
    """SwinUNETR reads its drop rates from a tensor while it is made: on no device without numbers."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call torch, `linspace` on the CPU."""
        said = dict(kwargs or {})
        if func is torch.linspace:
            said.setdefault("device", "cpu")
        return func(*args, **said)


def network_name(target: str) -> str:
    """Return the name in the table of a bundle's `_target_`; raise ModelError where it is not allowed."""
    name = target.rpartition(".")[2]
    if name not in NETWORKS or (name != target and not target.startswith(_PACKAGE)):
        raise ModelError(f"The bundle's network {target!r} is not on the list: {', '.join(sorted(NETWORKS))}.")
    return name


def build_monai(name: str, parameters: Mapping[str, Any]) -> nn.Module:
    """Construct a MONAI network with untrained weights; raise ModelError where name or arguments are not usable."""
    network = NETWORKS.get(name)
    if network is None:
        raise ModelError(f"There is no MONAI network {name!r} on the list: {', '.join(sorted(NETWORKS))}.")
    try:
        with torch.device("meta"), _NumbersOnCpu():
            size = sum(parameter.numel() for parameter in network(**parameters).parameters())
        built = network(**parameters) if size <= MOST_PARAMETERS else None
    except Exception as error:
        raise ModelError(
            f"MONAI's {name} cannot be built from what the bundle says: {str(error).splitlines()[0]}"
        ) from error
    if built is None:
        raise ModelError(f"The network {name} would have {size:.2g} parameters.")
    return built
