"""Where memory runs out the engines go down the ladder, say so, and still answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models.engines.deepmedic import SHRINKS, DeepMedicSegmenter, Member
from models.engines.folded import FoldedDeepMedic, fold
from models.engines.memory import Descent, ModelOutOfMemory, is_out_of_memory, ladder
from models.engines.sliding_window import SlidingWindowSegmenter
from models.networks.deepmedic import Architecture, DeepMedic
from models.registry import SHIPPED_SPECS
from models.segmenter import HeadGrid
from models.spec import ModelSpec, load_spec

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)  # only named here


def _head() -> HeadGrid:
    hu = np.random.default_rng(3).normal(40, 20, (24, 48, 40)).astype(np.float32)
    return HeadGrid(hu_zyx=hu, spacing_zyx_mm=(1.0, 1.0, 1.0), scanned_zyx=np.ones(hu.shape, dtype=bool))


def one_member_spec(**parameters: object) -> ModelSpec:
    blast = load_spec(SHIPPED_SPECS / "blast-ct-v1.json")
    window = {"window": [16, 32, 32], "overlap": 0.25, "everywhere": True, **parameters}
    return replace(blast, family="zoo", parameters=window, files=blast.files[:1])


class Bounded(nn.Module):
    """A voxel-wise network on a device whose memory holds `most` voxels at once: its allocator says when it is full."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.mix = nn.Conv3d(1, 5, 1)
        self.most = most
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer, unless the input is too large."""
        self.seen.append(tuple(x.shape))
        if x.numel() > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        logits: torch.Tensor = self.mix(x)
        return logits


def _segment(most: int, batch: int = 4) -> tuple[Bounded, SlidingWindowSegmenter]:
    torch.manual_seed(1)
    network = Bounded(most).eval()
    return network, SlidingWindowSegmenter(
        one_member_spec(), [network], members=(1,), precision="float32", device=CPU, batch=batch
    )


def test_enough_memory_gives_up_nothing() -> None:
    """Four windows at once, no word of a fallback."""
    network, segmenter = _segment(10**9)
    assert segmenter.segment(_head()).fallbacks == ()
    assert max(shape[0] for shape in network.seen) == 4


def test_smaller_batches_then_smaller_windows() -> None:
    """One window at a time where four do not fit; then half and a quarter of its sides. The labels stay."""
    expected = _segment(10**9)[1].segment(_head()).probabilities_czyx
    window = 16 * 32 * 32
    one = "one window at a time"
    for most, steps in (
        (window, (one,)),
        (window // 4, (one, "windows of 1/2 the size")),
        (16 * 16 * 16, (one, "windows of 1/2 the size")),
    ):
        network, segmenter = _segment(most)
        result = segmenter.segment(_head())
        assert result.fallbacks == steps
        assert network.seen[-1][0] == 1
        np.testing.assert_allclose(result.probabilities_czyx, expected, atol=1e-5)


def test_no_rung_left_comes_again_later() -> None:
    """Where even the smallest window does not fit the error is transient: memory may be free another time."""
    _, segmenter = _segment(100)
    with pytest.raises(ModelOutOfMemory):
        segmenter.segment(_head())


def test_the_next_study_begins_at_the_top() -> None:
    """What was given up for one study is not given up for the next."""
    network, segmenter = _segment(16 * 32 * 32)
    assert segmenter.segment(_head()).fallbacks
    network.most = 10**9
    assert segmenter.segment(_head()).fallbacks == ()


def test_the_ladder_of_a_gpu_ends_on_the_cpu() -> None:
    """Batch, windows, stitching on the CPU, the CPU; each rung is reached, in this order."""
    rungs = ladder(CUDA, batch=4, shrinks=(2,))
    assert [(rung.batch, rung.shrink, rung.stitch_on.type, rung.device.type) for rung in rungs] == [
        (4, 1, "cuda", "cuda"),
        (1, 1, "cuda", "cuda"),
        (1, 2, "cuda", "cuda"),
        (1, 2, "cpu", "cuda"),
        (1, 1, "cpu", "cpu"),
    ]
    descent = Descent(rungs)

    def work(rung: object) -> str:
        if rung is not rungs[-1]:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return "done"

    assert descent.run(work) == "done"
    assert descent.steps == (
        "one window at a time",
        "windows of 1/2 the size",
        "stitched on the CPU",
        "run on the CPU",
    )


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    """Only what allocators say counts; a fault of the network stays a fault."""

    def work(_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        Descent(ladder(CPU, batch=1, shrinks=(2,))).run(work)
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)  # what torch itself says
    assert is_out_of_memory(caught.value)


@contextmanager
def _bounded_windows(monkeypatch: pytest.MonkeyPatch, most: int) -> Iterator[list[int]]:
    """Let the fine path run out of memory on windows of more than `most` voxels."""
    seen: list[int] = []
    whole = FoldedDeepMedic.window_probabilities

    def bounded(self: FoldedDeepMedic, window: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        seen.append(window.numel())
        if window.numel() > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, window, *args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(FoldedDeepMedic, "window_probabilities", bounded)
        yield seen


def test_deepmedic_takes_smaller_windows_and_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that runs out half way through a member leaves no trace: the answer is that of enough memory."""
    architecture = Architecture(
        scale_factors=(5, 3, 1), path_channels=(4, 4, 4, 4, 4, 4, 4, 4), fused_channels=(8, 8), classes=5
    )
    networks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        networks.append(Member(network=fold(DeepMedic(architecture).eval(), dtype=torch.float32, device=CPU)))
    segmenter = DeepMedicSegmenter(
        load_spec(SHIPPED_SPECS / "blast-ct-v1.json"), networks, members=(1, 2), precision="float32", device=CPU
    )
    grid = _head()
    mask = np.zeros(grid.hu_zyx.shape, dtype=bool)
    mask[:10, :10, :10] = True
    mask[10:, :, :] = True
    expected = segmenter.segment_where(grid, mask)
    assert expected.fallbacks == ()
    with _bounded_windows(monkeypatch, 10**9) as seen:
        segmenter.segment_where(grid, mask)
    with _bounded_windows(monkeypatch, max(seen) - 1):
        result = segmenter.segment_where(grid, mask)
    # the head is smaller than a sixteenth of a window, so only the last step helps
    assert result.fallbacks == tuple(f"windows of 1/{shrink} the size" for shrink in SHRINKS)
    np.testing.assert_allclose(result.probabilities_czyx, expected.probabilities_czyx, atol=1e-5)
    assert (result.member_labels_mzyx == expected.member_labels_mzyx).mean() > 0.9999
