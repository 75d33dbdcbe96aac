"""One folded block of DeepMedic, as a convolution over a window and as a product over rows of channels."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.nn import functional

from models.networks.deepmedic import centre

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnDevice:
    """Values that move to a device together."""

    def on(self, device: torch.device) -> Self:
        """Return the block on a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in values.items() if isinstance(value, torch.Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(_OnDevice):
    """One block: an affine (where the input is raw), leaky ReLU, convolution, shortcut."""

    scale: torch.Tensor | None  # (1, C, 1, 1, 1); None where the input comes with its affine already applied
    shift: torch.Tensor | None
    slope: float
    weight: torch.Tensor
    bias: torch.Tensor
    has_shortcut: bool
    shortcut_scale: torch.Tensor | None  # None for 1

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Run the stage in its own type; `x` may be overwritten."""
        x = x.to(self.weight.dtype)
        y = _convolve(_activated(x, self.scale, self.shift, self.slope), self.weight, self.bias)
        if self.has_shortcut:
            shortcut = centre(x, y.shape[2:])
            y = y.add_(shortcut) if self.shortcut_scale is None else y.addcmul_(shortcut, self.shortcut_scale)
        return y


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense(_OnDevice):
    """One 1 x 1 x 1 block over rows (n, C): the same steps, a matrix in place of the convolution."""

    scale: torch.Tensor | None  # (C,); None where the input comes with its affine already applied
    shift: torch.Tensor | None
    slope: float
    weight_io: torch.Tensor
    bias: torch.Tensor
    has_shortcut: bool
    shortcut_scale: torch.Tensor | None  # (C,); None for 1

    @classmethod
    def of(cls, stage: Stage) -> Self:
        """Make rows' block of a stage whose convolution is 1 x 1 x 1."""
        return cls(
            scale=None if stage.scale is None else stage.scale.flatten(),
            shift=None if stage.shift is None else stage.shift.flatten(),
            slope=stage.slope,
            weight_io=stage.weight.flatten(1).t().contiguous(),
            bias=stage.bias,
            has_shortcut=stage.has_shortcut,
            shortcut_scale=None if stage.shortcut_scale is None else stage.shortcut_scale.flatten(),
        )

    @classmethod
    def joining(cls, shares: Sequence[Stage], *, dtype: torch.dtype) -> Self:
        """Make one block of several whose inputs stand side by side and whose outputs are summed."""
        return cls(
            scale=None,
            shift=None,
            slope=shares[0].slope,
            weight_io=torch.cat([share.weight.flatten(1).t() for share in shares]).to(dtype),
            bias=torch.stack([share.bias for share in shares]).sum(dim=0).to(dtype),
            has_shortcut=False,
            shortcut_scale=None,
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block in its own type; `x` may be overwritten."""
        x = x.to(self.weight_io.dtype)
        if not self.has_shortcut:
            return torch.addmm(self.bias, _activated(x, self.scale, self.shift, self.slope), self.weight_io)
        y = x + self.bias if self.shortcut_scale is None else torch.addcmul(self.bias, x, self.shortcut_scale)
        return y.addmm_(_activated(x, self.scale, self.shift, self.slope), self.weight_io)


def _activated(x: torch.Tensor, scale: torch.Tensor | None, shift: torch.Tensor | None, slope: float) -> torch.Tensor:
    """Apply affine and leaky ReLU; in place where there is no affine."""
    if scale is None or shift is None:
        return functional.leaky_relu_(x, slope)
    return functional.leaky_relu_(torch.addcmul(shift, x, scale), slope)


def _convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Convolve without padding, through oneDNN on a CPU.

    torch asks oneDNN itself only for large inputs and several threads; what it takes otherwise is three times slower.
    """
    if x.device.type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return torch.mkldnn_convolution(x, weight, bias, [0, 0, 0], [1, 1, 1], [1, 1, 1], 1)
    return functional.conv3d(x, weight, bias)
