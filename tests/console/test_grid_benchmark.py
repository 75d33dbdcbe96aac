"""What a grid costs, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli.entry import run
from models.phantoms import PhantomPlan, parse_lesion, write_phantom


def test_a_finer_grid_costs_less(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The grid of the slices themselves gives the truth back; one that is far coarser loses much of it."""
    for name, lesions in (("bled", (parse_lesion("iph:12:left"),)), ("healthy", ())):
        write_phantom(tmp_path / name, PhantomPlan(lesions=lesions, rows=80, columns=80, pixel_spacing_mm=3.0))
    command = ["benchmark", "grid", "--data", str(tmp_path), "--spacing", "5,3,3", "--spacing", "12,9,9", "--json"]
    assert run(command) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert [figure["what"].split(" mm")[0] for figure in figures[::2]] == ["5 x 3 x 3", "12 x 9 x 9"]
    assert figures[0]["value"] == pytest.approx(1.0, abs=0.001)
    assert figures[2]["value"] < 0.9


@pytest.mark.parametrize("spacing", ["4,1.5", "a,b,c", "4,0,1"])
def test_a_spacing_is_three_lengths(tmp_path: Path, spacing: str) -> None:
    """Anything else is wrong usage."""
    assert run(["benchmark", "grid", "--data", str(tmp_path), "--spacing", spacing]) == 2
