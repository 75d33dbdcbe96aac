"""What a model's training has met is no test for it, and `ichor compare` says what makes a comparison unfair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from console.cli.entry import run
from models.phantoms import PhantomPlan, parse_lesion, write_phantom

RECIPE = """
name = "short"
labels = ["IPH", "EAH", "oedema", "IVH"]
[[data]]
path = "train"
[model]
network = "phantom-unet"
network_parameters = {channels = [8, 16]}
spacing_zyx_mm = [6.0, 4.0, 4.0]
patch = [8, 32, 32]
[training]
steps = 2
batch = 1
validate_every = 2
precision = "float32"
threads = 1
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms to train and test on, and a registry: `single` of one seed, others of three, `long` of more steps."""
    folder = tmp_path_factory.mktemp("bench")
    for number in range(5):
        plan = PhantomPlan(
            lesions=(parse_lesion("iph:40:left"),),
            seed=number + 1,
            slice_thickness_mm=6,
            rows=96,
            columns=96,
            pixel_spacing_mm=2.4,
        )
        part = "train" if number < 4 else "test"
        write_phantom(folder / part / f"{part}-{number}", plan)
    (folder / "short.toml").write_text(RECIPE)
    (folder / "long.toml").write_text(RECIPE.replace("steps = 2", "steps = 4"))
    three = ["--seed", "1", "--seed", "2", "--seed", "3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ICHOR_DATA_DIR", str(folder / "data"))
        assert run(["train", str(folder / "short.toml"), "--name", "single"]) == 0
        assert run(["train", str(folder / "short.toml"), *three]) == 0
        assert run(["train", str(folder / "short.toml"), "--name", "other", *three]) == 0
        assert run(["train", str(folder / "long.toml"), "--name", "long", *three]) == 0
    return folder


@pytest.fixture(autouse=True)
def _data_dir(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHOR_DATA_DIR", str(trained / "data"))


def test_scans_that_trained_are_no_test(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report says it of the training part, and nothing of the test part."""
    for part, wanted in (("train", ["train-0", "train-1", "train-2", "train-3"]), ("test", [])):
        result = evaluated(["--model", "single", "--data", str(trained / part)], capsys)
        assert result["provenance"]["met"] == wanted
        assert any("Its figures are no test." in note for note in result["notes"]) == bool(wanted)
        assert result["provenance"]["seeds"] == [1]
    shown = {
        name: evaluated(["--model", name, "--data", str(trained / "test")], capsys)["provenance"]["shown_voxels"]
        for name in ("short", "long")
    }
    assert shown == {"short": 2 * 8 * 32 * 32, "long": 4 * 8 * 32 * 32}


def test_an_unfair_comparison_says_so_and_is_refused_where_asked(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seeds, members and budget; two of a kind pass."""
    data = ["--data", str(trained / "test")]
    assert run(["compare", "single", "long", *data, "--json"]) == 0
    unfair = " ".join(json.loads(capsys.readouterr().out)["unfair"])
    for said in ("single is of 1 seed(s)", "2.0 times as many voxels", "1 member(s) answered for single, 3 for long"):
        assert said in unfair
    assert run(["compare", "single", "long", *data]) == 0
    assert "Not a fair comparison:" in capsys.readouterr().out
    assert run(["compare", "single", "long", *data, "--fair"]) == 1
    assert "Not a fair comparison." in capsys.readouterr().err
    assert run(["compare", "short", "other", *data, "--fair"]) == 0
    assert "Not a fair" not in capsys.readouterr().out


def evaluated(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert run(["evaluate", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)
