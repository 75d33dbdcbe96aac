"""A host that is short of memory or of files says nothing about the study: the fault is not the series'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.scarcity import little_memory, no_more_files
from tests.worker.geometry.scans import Scan, axial
from worker.pixels import read_hu
from worker.series import read_studies
from worker.volume import read_volume

SIDE = 4096  # 32 MiB a slice


@pytest.fixture(scope="module")
def large_paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two slices that need more memory than there will be."""
    stored = np.zeros((2, SIDE, SIDE), dtype=np.int16)
    return Scan(plane=axial((0.0, 5.0), size=SIDE), stored_kji=stored).write(tmp_path_factory.mktemp("large"))


def test_too_little_memory_is_no_damage(large_paths: list[Path]) -> None:
    """A slice for which there is no memory is not called undecodable, and can be read later."""
    (series,) = read_studies(large_paths)[0].series
    (one, _) = series.slices
    into_kji = np.ones((1, SIDE, SIDE), dtype=np.int16)
    with little_memory(8 * 2**20), pytest.raises(MemoryError):
        read_hu(one.path, [(0, one)], into_kji)
    read_hu(one.path, [(0, one)], into_kji)
    assert not into_kji.any()


def test_memory_that_others_left_free_is_none_to_spare(large_paths: list[Path]) -> None:
    """What this process freed and still holds is not had for a slice: the same MemoryError, whatever ran before."""
    (series,) = read_studies(large_paths)[0].series
    (one, _) = series.slices
    into_kji = np.ones((1, SIDE, SIDE), dtype=np.int16)
    blocks = [bytes(100_000) for _ in range(4_000)]  # small enough for the heap, not for mappings of their own
    pin = bytes(100_000)
    del blocks
    with little_memory(8 * 2**20), pytest.raises(MemoryError):
        read_hu(one.path, [(0, one)], into_kji)
    assert len(pin) == 100_000


def test_a_file_that_cannot_be_opened_now_is_not_left_out(large_paths: list[Path]) -> None:
    """With no file to be had, reading fails as a whole: a study with fewer slices would be another study."""
    with no_more_files(), pytest.raises(OSError, match="Too many open files"):
        read_studies(large_paths)
    (series,) = read_studies(large_paths)[0].series
    with no_more_files(), pytest.raises(OSError, match="Too many open files"):
        read_volume(series)
