"""A machine whose convolutions are wrong in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class SpoiledBfloat16(TorchFunctionMode):
    """While it lasts one kind of convolution answers rightly, and in bfloat16 hands its weights a wrong gradient."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        answer = func(*args, **({} if kwargs is None else kwargs))
        if func is self.function and answer.dtype == torch.bfloat16:
            weight = args[1]
            return answer + (weight - weight.detach()).sum()  # the answer is as it was, its gradient is not
        return answer
