"""Classifiers whose maps are the segmentation: where a map may mark, what a threshold means, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ichor.errors import ModelError
from models.brain import eroded_brain
from models.engines import slice_maps
from models.engines.slice_maps import SHOWS_BLOOD, blood_of
from models.networks.attention_maps import look
from models.networks.swin_classifier import NAME, build_classifier
from models.registry import Registry
from models.segmenter import HeadGrid
from models.tissue import intracranial_tissue
from tests.models.analytic_heads import SPACING_MM, grid_of, head, places_mm

PARAMETERS: dict[str, Any] = {
    "side": 48,
    "patch": 3,
    "window": 4,
    "features": 8,
    "depths": [2, 2],
    "heads": [2, 2],
    "in_channels": 2,
    "outputs": 1,
}
SPACING = (6.0, 3.0, 3.0)


@pytest.fixture
def entry(tmp_path: Path, blast_json: dict[str, Any]) -> Path:
    """The folder of an untrained classifier of two members that calls every plane blood."""
    folder = tmp_path / "maps"
    folder.mkdir()
    files = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = build_classifier(NAME, PARAMETERS)
        network.head.bias.data.fill_(1.0)
        path = folder / f"member_{seed}.safetensors"
        save_file(network.state_dict(), path)
        content = path.read_bytes()
        files.append({"name": path.name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)})
    labels = [blast_json["labels"][0] | {"index": 1, "name": "ICH"}]
    blast_json.update(name="maps", family="slice-maps", files=files, spacing_zyx_mm=list(SPACING), labels=labels)
    blast_json.pop("validated_subsets", None)
    blast_json["parameters"] = {
        "network": NAME,
        "network_parameters": PARAMETERS,
        "side": 48,
        "hu_windows": [[-20.0, 100.0], [20.0, 80.0]],
        "map": "hgi-sam",
        "threshold": 0.3,
    }
    (folder / "model.json").write_text(json.dumps(blast_json))
    return folder


def coarse_head() -> HeadGrid:
    """Every fourth plane and every second row and column of a head made of ellipsoids."""
    hu, _ = head()
    hu = np.ascontiguousarray(hu[::4, ::2, ::2])
    return HeadGrid(hu_zyx=hu, spacing_zyx_mm=SPACING, scanned_zyx=np.ones(hu.shape, dtype=bool))


def test_the_brain_is_inside_the_skull() -> None:
    """Nearly all of the intracranial space, less its rim, and nothing of scalp, neck or skull."""
    hu, inside = head()
    grid = grid_of(hu)
    brain = eroded_brain(grid, intracranial_tissue(grid))
    z, _, _ = places_mm()
    assert not (brain & ~inside & (z > -40)).any()  # below, the skull is open to the neck
    upper = inside & (z > -40)
    assert (brain & upper).sum() / upper.sum() > 0.9
    assert not eroded_brain(grid_of(np.full_like(hu, -1000)), np.ones(hu.shape, dtype=bool)).any()
    assert SPACING_MM == 1.5


def test_it_marks_within_the_brain(entry: Path) -> None:
    """Probabilities sum to 1 on the grid, members are averaged, what is marked lies in the eroded brain."""
    segmenter = Registry(entry.parent).load("maps", device="cpu")
    segmenter.warm()
    grid, seen = coarse_head(), list[float]()
    found = segmenter.segment(grid, on_progress=seen.append)
    assert found.probabilities_czyx.shape == (2, *grid.hu_zyx.shape)
    np.testing.assert_allclose(found.probabilities_czyx.sum(axis=0), 1, atol=1e-6)
    assert seen == [0.5, 1.0]
    assert found.member_labels_mzyx.any(axis=(1, 2, 3)).all()
    assert not (found.member_labels_mzyx.any(axis=0) & ~eroded_brain(grid, intracranial_tissue(grid))).any()
    assert segmenter.plan.engine == slice_maps.ENGINE
    one = Registry(entry.parent).load("maps", members=(2,), device="cpu").segment(grid)
    assert np.array_equal(one.member_labels_mzyx[0], found.member_labels_mzyx[1])


def test_planes_without_blood_are_not_looked_into(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a probability of one half no map is drawn, and nothing has any probability of blood."""
    registry = Registry(entry.parent)
    segmenter = registry.load("maps", device="cpu")
    for classifier in segmenter._classifiers:  # type: ignore[attr-defined]
        classifier.head.bias.data.fill_(-1.0)
    monkeypatch.setattr(slice_maps, "look", None)
    found = segmenter.segment(coarse_head())
    assert float(found.probabilities_czyx[1].max()) == 0


def test_short_memory_is_one_step_down(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that does not fit is cut to single slices, which is said and changes no label."""
    segmenter = Registry(entry.parent).load("maps", device="cpu")
    whole = segmenter.segment(coarse_head())
    real = look

    def short(classifier: Any, image: torch.Tensor, kinds: Any) -> Any:
        if len(image) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return real(classifier, image, kinds)

    monkeypatch.setattr(slice_maps, "look", short)
    found = segmenter.segment(coarse_head())
    assert found.fallbacks == ("one window at a time",)
    assert (found.member_labels_mzyx == whole.member_labels_mzyx).mean() > 0.9999


def test_a_threshold_is_one_half() -> None:
    """Above it lies what is marked, up to the plane's own probability; below it what is not; as argmax sees it."""
    maps = np.array([[[0.0, 0.2, 0.4, 0.41, 1.0]], [[0.0, 0.2, 0.4, 0.41, 1.0]]], dtype=np.float32)
    blood = blood_of(maps, np.array([0.9, 0.5], dtype=np.float32), 0.4)
    assert blood[0, 0].tolist() == pytest.approx([0, 0.25, 0.5, 0.5 + 0.4 * 0.01 / 0.6, 0.9], abs=1e-6)
    assert (blood > 1 - blood).tolist() == [[[False, False, False, True, True]]] * 2
    assert SHOWS_BLOOD == 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"map": "attention"},
        {"threshold": 0.0},
        {"threshold": "high"},
        {"side": 47},
        {"side": True},
        {"hu_windows": [[100.0, 0.0]]},
        {"hu_windows": []},
        {"network": "unet-2d"},
    ],
)
def test_nonsense_is_refused(entry: Path, change: dict[str, Any]) -> None:
    """A spec with another map, no threshold, another square or windows without width is said to be wrong."""
    spec = json.loads((entry / "model.json").read_text())
    spec["parameters"] |= change
    (entry / "model.json").write_text(json.dumps(spec))
    with pytest.raises(ModelError):
        Registry(entry.parent).load("maps", device="cpu").warm()


def test_what_it_cannot_do_is_said(entry: Path) -> None:
    """Another grid, and half the precision: gradients are drawn in float32."""
    registry = Registry(entry.parent)
    with pytest.raises(ModelError, match="float32 alone"):
        registry.load("maps", device="cpu", precision="bfloat16")
    grid = coarse_head()
    other = HeadGrid(hu_zyx=grid.hu_zyx, spacing_zyx_mm=(5.0, 3.0, 3.0), scanned_zyx=grid.scanned_zyx)
    with pytest.raises(ModelError, match="needs a grid"):
        registry.load("maps", device="cpu").segment(other)
