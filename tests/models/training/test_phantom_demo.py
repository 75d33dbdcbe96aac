from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import models
from ichor.sections import WebhookChannel
from models.engines.loading import load_same_size
from models.networks.catalogue import build
from models.segmenter import HeadGrid
from models.spec import load_spec
from models.training.curve import read_curve
from models.training.phantom_cases import HELD_OUT_SEED, SPACING_ZYX_MM, make_case
from models.training.phantom_demo import RECIPE, heads_of, main
from models.training.phantom_figures import CaseFigures, compare
from models.training.spec import network_parameters, spec_of
from models.training.trainer import CURVE, train

FOLDER = Path(models.__file__).parent
WEIGHTS = FOLDER / "weights" / "phantom-demo.safetensors"


def test_shipped_model_is_small_and_says_what_it_is() -> None:
    """The shipped weights have at most 4 MB, spec and card belong to them, and both warn loudly."""
    spec = load_spec(FOLDER / "specs" / "phantom-demo.json")
    card = (FOLDER / "weights" / "phantom-demo.md").read_text()
    assert WEIGHTS.stat().st_size == spec.files[0].size_bytes <= 4_000_000
    assert spec.digest in card
    assert card.startswith("# phantom-demo, version 1: NEVER FOR PATIENTS")
    assert spec.intended_use.startswith("NEVER FOR PATIENTS")
    assert spec.research_only
    blast = load_spec(FOLDER / "specs" / "blast-ct-v1.json")
    assert spec.labels == blast.labels


def _engine_figures(seed: int) -> tuple[CaseFigures, float]:
    """Run the shipped model through its engine on a held-out head; return its figures and what was asked for."""
    case = make_case(seed)
    spec = load_spec(FOLDER / "specs" / "phantom-demo.json")
    segmenter = load_same_size(spec, [WEIGHTS], members=(1,), device="cpu", precision="float32", threads=1)
    hu = case.hu_zyx.astype(np.float32)
    grid = HeadGrid(hu_zyx=hu, spacing_zyx_mm=SPACING_ZYX_MM, scanned_zyx=hu > -1023)
    labels = segmenter.segment(grid).probabilities_czyx.argmax(axis=0).astype(np.uint8)
    voxel_ml = math.prod(SPACING_ZYX_MM) / 1000
    return compare(labels, case.labels_zyx, voxel_ml), sum(lesion.volume_ml for lesion in case.lesions)


def test_shipped_model_finds_blood_in_phantoms() -> None:
    """On a held-out phantom the shipped model, run by its engine, marks the blood and little else."""
    figures, drawn_ml = _engine_figures(HELD_OUT_SEED + 5)
    assert drawn_ml > 20
    assert figures.dice is not None
    assert figures.dice >= 0.85


def test_shipped_model_leaves_a_healthy_phantom_alone() -> None:
    """On a lesion-free held-out phantom it marks less than the default alert threshold."""
    figures, drawn_ml = _engine_figures(HELD_OUT_SEED)
    assert drawn_ml == 0
    assert figures.answer_ml < WebhookChannel.model_fields["min_volume_ml"].default


def test_its_recipe_makes_the_shipped_model() -> None:
    """The documented command makes the network, the labels and the input of the shipped model."""
    shipped = load_spec(FOLDER / "specs" / "phantom-demo.json")
    made = spec_of(RECIPE)
    assert (made.labels, made.spacing_zyx_mm, made.hu_window) == (shipped.labels, shipped.spacing_zyx_mm, (-20, 120))
    assert made.parameters["window"] == shipped.parameters["window_zyx"]
    network = build(RECIPE.model.network, network_parameters(RECIPE))
    network.load_state_dict(load_file(WEIGHTS))


def test_training_learns(tmp_path: Path) -> None:
    """A short training by its recipe lowers the loss."""
    how = replace(RECIPE.training, steps=20, threads=1)
    recipe = replace(RECIPE, model=replace(RECIPE.model, patch=(8, 48, 48)), training=how)
    train(recipe, 1, heads_of([make_case(HELD_OUT_SEED + 5)]), tmp_path)
    losses = [point["loss"] for point in read_curve(tmp_path / CURVE)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.slow
def test_command_writes_weights_spec_and_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented command writes a model that the engine loads, with its spec and its card."""
    arguments = ["phantom_demo", "--out", str(tmp_path), "--threads", "1", "--cases", "2", "--held-out", "3"]
    monkeypatch.setattr("sys.argv", [*arguments, "--steps", "2"])
    main()
    spec = load_spec(tmp_path / "phantom-demo.json")
    load_same_size(
        spec, [tmp_path / "phantom-demo.safetensors"], members=(1,), device="cpu", precision="float32", threads=1
    )
    assert spec.digest in (tmp_path / "phantom-demo.md").read_text()
