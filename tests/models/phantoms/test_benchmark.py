"""The fixed set: its recipes never change, its parts differ as said, and its studies can be read and scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.phantoms import PhantomInvalid, benchmark
from models.phantoms.benchmark import benchmark_studies, table_sha256, write_benchmark
from models.phantoms.head import head_lattice, make_head
from models.phantoms.lesions import parse_lesion
from models.phantoms.shift import USUAL, Shift
from models.training.data.catalogue import read_data


def test_the_recipes_are_fixed() -> None:
    """Who compares pipelines must have the same studies: another table is another benchmark."""
    assert table_sha256() == "d27c359f7031ba810ceb9389dc03e184791af60e011ed96fd0ded6b36f917ba9"


def test_parts_are_what_they_say() -> None:
    """60, 40 and 20 studies, no head twice, a quarter without blood, all five kinds; only the last part is shifted."""
    studies = benchmark_studies()
    parts = {part: [one for one in studies if one.part == part] for part in benchmark.PARTS}
    assert {part: len(held) for part, held in parts.items()} == {"train": 60, "test": 40, "shifted": 20}
    assert len({one.plan.seed for one in studies}) == len({one.name for one in studies}) == 120
    for part, held in parts.items():
        assert sum(not one.plan.lesions for one in held) == len(held) // 4
        assert {lesion.kind for one in held for lesion in one.plan.lesions} == {"iph", "ivh", "sah", "sdh", "edh"}
        assert all((one.plan.shift == USUAL) == (part != "shifted") for one in held)
    assert min(one.plan.noise_hu for one in parts["shifted"]) > max(one.plan.noise_hu for one in parts["test"])
    assert any(one.plan.tilt_deg == 0 for one in parts["test"])
    assert any(one.plan.tilt_deg > 18 for one in parts["shifted"])


def test_shift_changes_what_it_says() -> None:
    """Older heads have more fluid and less dense brain; the bleed keeps its place and volume and gets fainter."""
    lattice = head_lattice(spacing_zyx_mm=(3.0, 3.0, 3.0))
    lesions = (parse_lesion("iph:20:left"),)
    usual, faint = (make_head(lattice, 3, lesions, Shift(blood_hu=hu)) for hu in (0.0, -10.0))
    share = usual.bleeds[0].share
    inside = share > 0.99
    box = usual.bleeds[0].box
    assert np.array_equal(share, faint.bleeds[0].share)
    assert np.allclose(usual.hu_zyx[box][inside] - faint.hu_zyx[box][inside], 10, atol=0.2)
    young, old = (make_head(lattice, 3, (), Shift(ageing=ageing)).hu_zyx for ageing in (0.0, 1.0))
    fluid = [int(((hu > 0) & (hu < 15)).sum()) for hu in (young, old)]
    assert fluid[1] > 1.3 * fluid[0]


def test_written_studies_are_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is written once, read by its reader, and not mixed with another version of the table."""
    table = tmp_path / "benchmark.csv"
    head, *rows = benchmark.TABLE.read_text().splitlines()
    thick = next(row for row in rows if row.startswith("shifted") and ",7.0," in row)
    table.write_text("\n".join([head, rows[0], thick]))
    monkeypatch.setattr(benchmark, "TABLE", table)
    out = tmp_path / "out"
    (written,) = write_benchmark(out, ["shifted"])
    truth = out / "shifted" / written.name / "truth.json"
    stated = json.loads(truth.read_text())
    assert stated["seed"] == written.plan.seed
    data = read_data(out / "shifted")
    assert [case.name for case in data.cases] == [written.name]
    assert data.faults == ()
    assert data.licence.commercial is True
    stamp = truth.stat().st_mtime_ns
    write_benchmark(out, ["shifted"])
    assert truth.stat().st_mtime_ns == stamp
    table.write_text("\n".join([head, rows[1]]))
    with pytest.raises(PhantomInvalid, match="another version"):
        write_benchmark(out)
