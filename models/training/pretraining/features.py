"""Features of any network of the table: of its coarsest level, and of what its last layer sees.

Networks do not say where their encoder ends, so a first look at an empty patch finds it: the last module whose answer
has the coarsest size of all convolutions over the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ichor.errors import ModelError
from models.engines.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

_VOLUME = 5  # axes of a batch of volumes
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    name: str
    module: nn.Module
    seen: Tensor
    answer: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Taps:
    """A network with ears at two places; `deepest` and `last` name modules of it.

    `deepest` is None where several looks at a patch share the batch there (a Siamese encoder), or all is in the answer.
    """

    network: nn.Module
    deepest: str | None
    last: str
    deepest_channels: int
    last_channels: int

    @classmethod
    def on(cls, network: nn.Module, *, classes: int, sides: Sequence[int], views: int = 1) -> Taps:
        """Find the places by one look at an empty patch; raise ModelError where there is no last layer."""
        calls = _calls(network, (views, *sides))
        # a convolution over fewer axes is part of an attention, one that answers with a point squeezes
        axes = max((call.answer.ndim for call in calls if isinstance(call.module, _CONVOLUTIONS)), default=0)
        convolutions = [call for call in calls if isinstance(call.module, _CONVOLUTIONS) and call.answer.ndim == axes]
        coarse = min((size for call in convolutions if (size := _voxels(call.answer)) > 1), default=0)
        # a 2D network has slices as its batch, and nothing else may stand there
        whole = 1 if axes == _VOLUME else sides[0]
        deepest = [
            call
            for call in calls
            if call.answer.ndim == axes
            and _voxels(call.answer) == coarse
            and len(call.answer) == len(call.seen) == whole
            and call.answer.shape[1] != classes
        ]
        last = [call for call in convolutions if call.answer.shape[1] == classes and call.seen.shape[1] != classes]
        if not last or len(last[-1].seen) != whole:
            raise ModelError(f"{type(network).__name__} has no last layer that a pre-training could hold on to.")
        return cls(
            network=network,
            deepest=deepest[-1].name if deepest else None,
            last=last[-1].name,
            deepest_channels=int(deepest[-1].answer.shape[1]) if deepest else 0,
            last_channels=int(last[-1].seen.shape[1]),
        )

    def hear_both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return both; raise ModelError where patches do not go through the coarsest level one by one."""
        deepest, last = self.hear(image)
        if deepest is None:
            raise ModelError(
                f"{type(self.network).__name__} has no level at which a patch stands for itself: of the pre-trainings, "
                "context-restoration alone fits it."
            )
        return deepest, last

    def hear(self, image: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the features of the coarsest level, where there is one, and those before the last layer."""
        heard: dict[str, Tensor] = {}

        def on_answer(_: nn.Module, __: Any, answer: Tensor) -> None:
            heard["deepest"] = answer

        def before_last(_: nn.Module, seen: tuple[Tensor, ...]) -> None:
            heard["last"] = seen[0]

        handles = [self.network.get_submodule(self.last).register_forward_pre_hook(before_last)]
        if self.deepest is not None:
            handles.append(self.network.get_submodule(self.deepest).register_forward_hook(on_answer))
        try:
            self.network(image)
        finally:
            for handle in handles:
                handle.remove()
        return heard.get("deepest"), heard["last"]


def of_patch(features: Tensor, patches: int) -> Tensor:
    """Return one vector (patches, channels) for each patch; a 2D network's slices are averaged."""
    return features.flatten(2).mean(dim=2).reshape(patches, -1, features.shape[1]).mean(dim=1)


def of_slices(features: Tensor, patches: int, slices: int, slice_axis: int) -> Tensor:
    """Return (patches, slices, channels): vectors slice by slice, interpolated where a level has fewer slices."""
    if features.ndim == 4:  # a 2D network has them as its batch
        return features.flatten(2).mean(dim=2).reshape(patches, slices, features.shape[1])
    in_slice = [axis for axis in (2, 3, 4) if axis != slice_axis + 1]
    along = features.mean(dim=in_slice)
    return nn.functional.interpolate(along, size=slices, mode="linear", align_corners=False).transpose(1, 2)


def as_volume(features: Tensor, patches: int) -> Tensor:
    """Return (patches, channels, a, b, c), a 2D network's slices side by side again."""
    if features.ndim == 5:
        return features
    return features.reshape(patches, -1, *features.shape[1:]).transpose(1, 2)


def _calls(network: nn.Module, shape: Sequence[int]) -> list[_Call]:
    """Return what each module saw and answered for an empty patch, in the order in which they finished."""
    calls: list[_Call] = []

    def hook(name: str) -> Any:
        def note(module: nn.Module, seen: Any, answer: Any) -> None:
            tensors = isinstance(answer, Tensor) and seen and isinstance(seen[0], Tensor)
            if tensors and answer.ndim in (4, 5) and seen[0].ndim > 1:
                calls.append(_Call(name=name, module=module, seen=seen[0], answer=answer))

        return note

    handles = [module.register_forward_hook(hook(name)) for name, module in network.named_modules() if name]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *shape, device=next(network.parameters()).device))
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        why = str(error).splitlines()[0]
        raise ModelError(f"The network cannot take a patch of {' x '.join(map(str, shape[1:]))}: {why}") from error
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return calls


def _voxels(features: Tensor) -> int:
    return int(features.shape[2:].numel())
