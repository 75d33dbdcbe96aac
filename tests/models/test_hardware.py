"""Device, precision and heap are resolved as documented."""

from __future__ import annotations

import pytest
import torch

from ichor.errors import ModelError
from models.engines.hardware import has_native_bfloat16, resolve_device, resolve_precision, set_threads
from models.engines.steady_heap import steady_heap

CPU = torch.device("cpu")


def test_auto_takes_bfloat16_only_where_it_is_native_and_proven() -> None:
    """Unproven means float32 on any machine; proven means bfloat16 where the hardware has it."""
    assert resolve_precision("auto", CPU, proven_bfloat16=frozenset()) == "float32"
    expected = "bfloat16" if has_native_bfloat16(CPU) else "float32"
    assert resolve_precision("auto", CPU, proven_bfloat16=frozenset({"cpu"})) == expected


def test_a_precision_asked_for_by_name_is_taken() -> None:
    """The administrator's word stands, proven or not."""
    assert resolve_precision("bfloat16", CPU, proven_bfloat16=frozenset()) == "bfloat16"
    assert resolve_precision("float32", CPU, proven_bfloat16=frozenset({"cpu"})) == "float32"


def test_auto_device_exists() -> None:
    """The first CUDA device where there is one, else the CPU."""
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize("name", ["tpu", "meta", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    """One sentence that names what was asked for."""
    with pytest.raises(ModelError, match=repr(name)):
        resolve_device(name)


def test_a_negative_number_of_threads_is_refused() -> None:
    """Zero leaves torch's choice, negative is an error."""
    set_threads(0)
    with pytest.raises(ModelError, match="-1"):
        set_threads(-1)


def test_the_heap_works_during_and_after() -> None:
    """Large blocks come and go inside the context, and memory still works when it was left."""
    with steady_heap():
        for _ in range(3):
            block = torch.ones(10_000_000)
    assert block.sum() == 10_000_000
    assert torch.ones(10_000_000).sum() == 10_000_000
