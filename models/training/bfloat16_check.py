"""Whether this machine computes the gradients of a network's convolutions rightly in bfloat16: each is tried once.

torch 2.13 with oneDNN 3.12 does not on processors with AVX512-BF16 and no AMX: for weights of 3 x 3 x 3 on features two
planes deep the gradient is off by as much as it is large, or infinite, and nothing says so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor, nn

_CONVOLUTIONS: frozenset[Callable[..., Any]] = frozenset(
    (functional.conv2d, functional.conv3d, functional.conv_transpose2d, functional.conv_transpose3d)
)
_TOLERANCE = 0.05  # of the norm; rounding to bfloat16 makes 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """One way in which a network convolves; tensors of the device `meta` say sides and memory layout."""

    function: Callable[..., Tensor]
    features: Tensor
    weight: Tensor
    others: tuple[Any, ...]  # stride, padding and so on, as they were given
    named: dict[str, Any]

    def __str__(self) -> str:
        """Return the sides, for a person."""
        kernel, features = (" x ".join(map(str, one.shape[2:])) for one in (self.weight, self.features))
        outwards, inwards = self.weight.shape[:2]
        return f"{self.function.__name__} {outwards} x {inwards} x {kernel} on {features}"

    def is_right(self, device: torch.device) -> bool:
        """Whether answer and gradients in bfloat16 are those of float32 but for rounding."""
        random = torch.Generator(device).manual_seed(0)
        exact = self._worked_out(random, device, torch.float32)
        random.manual_seed(0)
        rounded = self._worked_out(random, device, torch.bfloat16)
        pairs = zip(exact, rounded, strict=True)
        return all(bool((one - other).norm() <= _TOLERANCE * one.norm()) for one, other in pairs)

    def _worked_out(self, random: torch.Generator, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return answer and gradients, in float32, of the same numbers for every type."""

        def drawn(like: Tensor) -> Tensor:
            # drawn in the order of indices: layouts may differ between types
            numbers = torch.randn(like.shape, generator=random, device=device).to(torch.bfloat16)
            return torch.empty_like(like, device=device, dtype=dtype).copy_(numbers)

        features, weight = (drawn(one).requires_grad_() for one in (self.features, self.weight))
        answer = self.function(features, weight, None, *self.others, **self.named)
        gradients = torch.autograd.grad(answer, (features, weight), drawn(answer.detach()))
        return tuple(one.detach().float() for one in (answer, *gradients))


def wrong_in_bfloat16(network: nn.Module, shapes: Iterable[Sequence[int]]) -> tuple[Convolution, ...]:
    """Return the convolutions that go wrong where the network learns on batches of these shapes.

    Neither the network nor torch's chance is changed. A shape that the network cannot take is passed over: whoever
    trains on it says so.
    """
    device = next(network.parameters()).device
    watch = _Watch()
    with torch.random.fork_rng(devices=()), torch.no_grad():
        for shape in shapes:
            try:
                with watch:
                    copy.deepcopy(network)(torch.zeros(*shape, device=device))
            except RuntimeError:
                continue
    return tuple(one for one in watch.found.values() if not one.is_right(device))


class _Watch(TorchFunctionMode):
    """Notes each way of convolving once."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Convolution] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = {} if kwargs is None else dict(kwargs)
        answer = func(*args, **named)
        if func in _CONVOLUTIONS:
            self._note(func, list(args), dict(named))
        return answer

    def _note(self, function: Callable[..., Tensor], given: list[Any], named: dict[str, Any]) -> None:
        given.extend(named.pop(name, None) for name in ("input", "weight", "bias")[len(given) :])
        features, weight = (torch.empty_like(one, device="meta", dtype=torch.float32) for one in given[:2])
        found = Convolution(function=function, features=features, weight=weight, others=tuple(given[3:]), named=named)
        sides = [(one.shape, one.stride()) for one in (features, weight)]
        self.found.setdefault(f"{function.__name__} {sides} {found.others} {named}", found)
