"""`ichor train --smoke`, `--data` and `--reader`: a recipe tried in seconds, on data that it does not name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli.entry import run
from models.phantoms import PhantomPlan, parse_lesion, write_phantom

LESIONS = ("iph:40:left", "sdh:40", "", "edh:40:left", "ivh:20", "iph:30:left", "sdh:50", "iph:50:right")
HEAD = """
name = "tried"
seeds = [1, 2, 3]
"""
OF_MASKS = """
labels = {labels}
[[data]]
path = "not-there"
[model]
network = "phantom-unet"
network_parameters = {{channels = [6, 8, 8]}}
spacing_zyx_mm = [8.0, 4.0, 4.0]
patch = [8, 32, 32]
[training]
steps = 100000
batch = 64
threads = 1
"""
OF_SLICES = """
[[data]]
path = "not-there"
[classifier]
spacing_zyx_mm = [8.0, 4.0, 4.0]
side = 48
network_parameters = {patch = 3, window = 4, features = 8, depths = [2, 2], heads = [2, 2]}
[training]
steps = 100000
batch = 64
threads = 1
"""
FOUR, FIVE = '["IPH", "EAH", "oedema", "IVH"]', '["EDH", "IPH", "IVH", "SAH", "SDH"]'


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for number, lesions in enumerate(LESIONS):
        plan = PhantomPlan(
            lesions=tuple(parse_lesion(text) for text in lesions.split("+") if text),
            seed=number + 1,
            slice_thickness_mm=8,
            rows=64,
            columns=64,
            pixel_spacing_mm=3.75,
        )
        write_phantom(folder / f"head-{number}", plan)
    return folder


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))


def tried(tmp_path: Path, recipe: str, *options: str) -> int:
    path = tmp_path / "recipe.toml"
    path.write_text(HEAD + recipe)
    return run(["train", str(path), *options])


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        (OF_MASKS.format(labels=FOUR), ()),
        (OF_MASKS.format(labels=FOUR) + '[pretraining]\nkind = "global-contrastive"\nsteps = 100000\nbatch = 64\n', ()),
        (OF_MASKS.format(labels=FIVE), ("--reader", "phantom-subtypes")),
        (OF_SLICES, ()),
    ],
    ids=["masks", "pre-training", "another reader", "slices"],
)
def test_a_long_recipe_is_tried_and_leaves_nothing(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: str, options: tuple[str, ...]
) -> None:
    """Two steps of one seed on two scans, validated and loaded as an entry; the registry has no model of it."""
    assert tried(tmp_path, recipe, "--data", str(scans), *options, "--smoke", "--json") == 0
    manifest = json.loads(capsys.readouterr().out)["manifest"]
    assert manifest["name"] == "tried-smoke"
    assert [(one["seed"], one["steps"]) for one in manifest["seeds"]] == [(1, 2)]
    assert {len(one["training"]) for one in manifest["data"]} == {2}
    assert max(len(one["validation"]) for one in manifest["data"]) <= 2
    assert not list((tmp_path / "data").glob("models/*"))
    assert [path.name for path in (tmp_path / "data" / "training").iterdir()] == ["cache"]


def test_it_says_that_it_went_through(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words for a person, who may try again."""
    for _ in range(2):
        assert tried(tmp_path, OF_MASKS.format(labels=FOUR), "--data", str(scans), "--smoke") == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "2 steps" in said
        assert "Nothing was added to the registry." in said


def test_what_would_stop_a_training_stops_its_trial(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A patch that the network cannot take, masks that do not tell the labels apart, and data that are not there."""
    unfit = OF_MASKS.format(labels=FOUR).replace("[8, 32, 32]", "[7, 31, 32]")
    assert tried(tmp_path, unfit, "--data", str(scans), "--smoke") == 1
    assert "cannot take a patch of 7 x 31 x 32" in " ".join(capsys.readouterr().err.split())
    assert tried(tmp_path, OF_MASKS.format(labels=FIVE), "--data", str(scans), "--smoke") == 1
    assert "do not tell" in " ".join(capsys.readouterr().err.split())
    assert tried(tmp_path, OF_MASKS.format(labels=FOUR), "--smoke") == 1
    assert "not-there" in " ".join(capsys.readouterr().err.split())


def test_a_reader_wants_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what `--data` is; alone it would be ignored."""
    assert tried(tmp_path, OF_MASKS.format(labels=FOUR), "--reader", "phantoms", "--smoke") == 2
    assert "--data" in capsys.readouterr().err
