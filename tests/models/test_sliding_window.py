"""Same-size networks through MONAI's sliding windows, from our own checkpoints."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ichor.errors import ModelCorrupted, ModelError
from models.engines.hardware import has_native_bfloat16
from models.networks.catalogue import build
from models.registry import Registry
from models.segmenter import HeadGrid

NETWORK = {"classes": 5, "channels": [4, 6, 8]}


@pytest.fixture
def zoo(tmp_path: Path, blast_json: dict[str, Any]) -> Registry:
    """A registry with one untrained U-Net of two members."""
    folder = tmp_path / "small-unet"
    folder.mkdir()
    files = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        path = folder / f"member_{seed}.safetensors"
        save_file(build("phantom-unet", NETWORK).state_dict(), path)
        content = path.read_bytes()
        files.append({"name": path.name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)})
    blast_json.update(name="small-unet", family="zoo", files=files, spacing_zyx_mm=[2.0, 2.0, 2.0])
    blast_json["parameters"] = {
        "network": "phantom-unet",
        "network_parameters": NETWORK,
        "window_zyx": [16, 32, 32],
        "overlap": 0.25,
    }
    (folder / "model.json").write_text(json.dumps(blast_json))
    return Registry(tmp_path)


def _grid() -> HeadGrid:
    hu = np.full((24, 50, 60), -1000, dtype=np.float32)
    hu[2:22, 10:40, 10:50] = np.random.default_rng(3).normal(40, 20, (20, 30, 40))
    return HeadGrid(hu_zyx=hu, spacing_zyx_mm=(2.0, 2.0, 2.0), scanned_zyx=np.ones(hu.shape, dtype=bool))


def test_a_checkpoint_segments_a_grid(zoo: Registry) -> None:
    """Probabilities cover the grid and sum to 1; volumes are those of each member; the plan names the engine."""
    segmenter = zoo.load("small-unet", members=12, device="cpu", precision="auto")
    seen: list[float] = []
    result = segmenter.segment(_grid(), on_progress=seen.append)
    assert result.probabilities_czyx.shape == (5, 24, 50, 60)
    np.testing.assert_allclose(result.probabilities_czyx.sum(axis=0), 1, atol=1e-5)
    assert result.member_volumes_ml.shape == (2, 4)
    assert result.plan.members == (1, 2)
    assert result.plan.precision == "float32"
    assert result.plan.engine == "sliding-window-1"
    assert seen == [0.5, 1.0]
    single = zoo.load("small-unet", members=(2,), device="cpu").segment(_grid())
    labels = single.probabilities_czyx.argmax(axis=0)
    volumes_ml = [np.count_nonzero(labels == label) * 8 / 1000 for label in (1, 2, 3, 4)]
    np.testing.assert_allclose(result.member_volumes_ml[1], volumes_ml)


def test_bfloat16_runs_where_the_spec_says_that_it_was_measured(zoo: Registry) -> None:
    """And nowhere else by itself; any other word for a device refuses the model."""
    path = zoo.models_dir / "small-unet" / "model.json"
    plain = json.loads(path.read_text())
    plain["parameters"]["proven_bfloat16"] = ["cpu"]
    path.write_text(json.dumps(plain))
    measured = zoo.load("small-unet", device="cpu", precision="auto")
    assert measured.plan.precision == ("bfloat16" if has_native_bfloat16(torch.device("cpu")) else "float32")
    for proven in (["cpu", "abacus"], "cpu", [["cpu"]], True):
        plain["parameters"]["proven_bfloat16"] = proven
        path.write_text(json.dumps(plain))
        with pytest.raises(ModelError, match="proven_bfloat16"):
            zoo.load("small-unet", device="cpu")


def test_a_checkpoint_of_another_network_is_refused(zoo: Registry) -> None:
    """Tensors that do not fit are ModelCorrupted; a network that is not in the table is ModelError."""
    path = zoo.models_dir / "small-unet" / "model.json"
    plain = json.loads(path.read_text())
    plain["parameters"]["network_parameters"] = {"classes": 5, "channels": [4, 6, 10]}
    path.write_text(json.dumps(plain))
    with pytest.raises(ModelCorrupted, match=r"member_1\.safetensors"):
        zoo.load("small-unet", device="cpu")
    plain["parameters"]["network"] = "os.system"
    path.write_text(json.dumps(plain))
    with pytest.raises(ModelError, match=r"no network 'os\.system'"):
        zoo.load("small-unet", device="cpu")


def _change(registry: Registry, **parameters: object) -> None:
    path = registry.models_dir / "small-unet" / "model.json"
    plain = json.loads(path.read_text())
    plain["parameters"].update(parameters)
    path.write_text(json.dumps(plain))


def _mirrored(grid: HeadGrid, axes: tuple[int, ...]) -> HeadGrid:
    return replace(
        grid,
        hu_zyx=np.ascontiguousarray(np.flip(grid.hu_zyx, axes)),
        scanned_zyx=np.ascontiguousarray(np.flip(grid.scanned_zyx, axes)),
    )


@pytest.mark.parametrize("axes", [(2,), (0, 1), (0, 1, 2)])
def test_flips_make_the_answer_that_of_the_mirror_image(zoo: Registry, axes: tuple[int, ...]) -> None:
    """Averaged over mirror images, a mirrored head gets the mirrored answer; without them it does not."""
    grid = _grid()
    for flips, same in (([0, 1, 2], True), ([], False)):
        _change(zoo, window_zyx=[24, 52, 60], everywhere=True, flips=flips)
        segmenter = zoo.load("small-unet", members=(1,), device="cpu", precision="float32")
        straight = segmenter.segment(grid).probabilities_czyx
        mirrored = segmenter.segment(_mirrored(grid, axes)).probabilities_czyx
        back = np.flip(mirrored, tuple(axis + 1 for axis in axes))
        assert np.allclose(straight, back, atol=1e-5) is same


def test_autocast_stays_near_float32(zoo: Registry) -> None:
    """Asked for by name, bfloat16 runs on any machine, is named in the plan, and moves probabilities a little."""
    exact = zoo.load("small-unet", device="cpu", precision="float32")
    cast = zoo.load("small-unet", device="cpu", precision="bfloat16")
    assert cast.plan.precision == "bfloat16"
    assert cast.plan.digest != exact.plan.digest
    difference = cast.segment(_grid()).probabilities_czyx - exact.segment(_grid()).probabilities_czyx
    assert 0 < np.abs(difference).max() < 0.05


def test_a_mirror_is_a_yes_or_a_no(zoo: Registry) -> None:
    """Anything else in the spec refuses the model."""
    _change(zoo, mirror_image="left")
    with pytest.raises(ModelError, match="mirror_image"):
        zoo.load("small-unet", device="cpu")


@pytest.mark.parametrize("window", [None, [16, 32], [16, 0, 32], [16, 32, 4096], "16"])
def test_an_impossible_window_is_refused(zoo: Registry, window: object) -> None:
    """A spec with a window that no memory holds, or none, is refused when the model is loaded."""
    path = zoo.models_dir / "small-unet" / "model.json"
    plain = json.loads(path.read_text())
    plain["parameters"]["window_zyx"] = window
    path.write_text(json.dumps(plain))
    with pytest.raises(ModelError, match="window_zyx"):
        zoo.load("small-unet", device="cpu")


@pytest.mark.parametrize(
    ("network", "parameters", "window"),
    [
        ("viola-unet", {"in_channels": 1, "filters": [4, 4, 8, 8, 8, 8, 8]}, [32, 32, 8]),
        ("unet-2d", {"features": [4, 4, 8, 8, 8, 4]}, [8, 32, 32]),
        ("siamese-unet", {"in_channels": 2, "filters": [4, 8, 8]}, [8, 32, 32]),
        ("cascade-unet", {"features": [4, 4, 4, 4, 4, 4], "filters": [4, 8, 8]}, [8, 32, 32]),
    ],
)
def test_networks_with_flat_convolutions_run(
    zoo: Registry, network: str, parameters: dict[str, Any], window: list[int]
) -> None:
    """A network whose weights have four axes beside those with five, or four alone, is served; a comparing one too."""
    path = zoo.models_dir / "small-unet" / "model.json"
    plain = json.loads(path.read_text())
    for file in plain["files"]:
        weights = path.with_name(file["name"])
        state = build(network, {**parameters, "classes": 5}).state_dict()
        save_file({name: value.clone() for name, value in state.items()}, weights)  # DynUNet's skips share theirs
        content = weights.read_bytes()
        file.update(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    plain["parameters"] = {
        "network": network,
        "network_parameters": {**parameters, "classes": 5},
        "window": window,
        "orientation": "RAS" if window[2] < window[0] else "SPL",
        "mirror_image": network == "siamese-unet",
    }
    path.write_text(json.dumps(plain))
    segmenter = zoo.load("small-unet", device="cpu", precision="float32")
    segmenter.warm()
    np.testing.assert_allclose(segmenter.segment(_grid()).probabilities_czyx.sum(axis=0), 1, atol=1e-5)
