"""What is done when memory runs out: one step down a ladder at a time, each said in the result.

Smaller batches, smaller windows, stitching on the CPU, and at last the CPU for everything. A step is kept for the rest
of the study, and the next study begins at the top: what other programs held may be free again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import structlog
import torch

from ichor.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

CPU = torch.device("cpu")
_SAID_BY_ALLOCATORS = ("out of memory", "can't allocate memory", "not enough memory", "could not allocate")


class ModelOutOfMemory(TransientError):
    """The model needs more memory than there is, however small its windows."""

    code = "model_out_of_memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to run, more modest than the one above it; `step` says what changed, empty at the top."""

    step: str
    batch: int
    shrink: int  # windows have this fraction of their sides, or of their voxels
    stitch_on: torch.device
    device: torch.device


def ladder(device: torch.device, *, batch: int, shrinks: Sequence[int]) -> tuple[Rung, ...]:
    """Return the rungs from the first choice down; `shrinks` are the window sizes that the engine can offer below 1."""
    rung = Rung(step="", batch=batch, shrink=1, stitch_on=device, device=device)
    rungs = [rung]
    if batch > 1:
        rungs.append(Rung(step="one window at a time", batch=1, shrink=1, stitch_on=device, device=device))
    rungs += [
        Rung(step=f"windows of 1/{shrink} the size", batch=1, shrink=shrink, stitch_on=device, device=device)
        for shrink in shrinks
    ]
    if device.type != "cpu":
        smallest = rungs[-1].shrink
        rungs.append(Rung(step="stitched on the CPU", batch=1, shrink=smallest, stitch_on=CPU, device=device))
        rungs.append(Rung(step="run on the CPU", batch=1, shrink=1, stitch_on=CPU, device=CPU))
    return tuple(rungs)


class Descent:
    """Where on a ladder a study stands."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self._rungs = tuple(rungs)
        self._at = 0

    @property
    def rung(self) -> Rung:
        """The rung in use."""
        return self._rungs[self._at]

    @property
    def steps(self) -> tuple[str, ...]:
        """What was given up so far, in order."""
        return tuple(rung.step for rung in self._rungs[1 : self._at + 1])

    def run(self, work: Callable[[Rung], Answer]) -> Answer:
        """Do the work on this rung, else on the next ones; raise ModelOutOfMemory where none is modest enough."""
        while True:
            try:
                return work(self.rung)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self._at + 1 == len(self._rungs):
                    raise ModelOutOfMemory from error
            # outside the handler: the traceback, which holds the tensors, is gone when memory is asked for again
            self._at += 1
            log.warning("model_out_of_memory", next=self.rung.step)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator, on a GPU or a CPU, said that there is no more, directly or as another error's cause."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAID_BY_ALLOCATORS):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)
