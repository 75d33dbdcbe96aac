"""A model as a MONAI bundle: read back it gives the same labels, MONAI runs it, and what it cannot say is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.adding.install import add_model
from models.adding.outgoing_bundle import write_bundle
from models.adding.package import ModelRefused
from models.registry import Registry
from models.segmenter import HeadGrid
from tests.models.adding.families import bundle_answer
from tests.models.adding.phantom_scan import SPACING_ZYX_MM, kept_scan
from tests.models.adding.untrained import entry

NETWORKS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "attention-unet": ({"channels": [4, 6, 8]}, [8, 32, 32]),
    "dynunet-r": ({"filters": [4] * 7, "supervised": 2, "in_channels": 1}, [32, 32, 8]),
    "phantom-unet": ({"channels": [4, 6, 8]}, [8, 32, 32]),
    "unet-3d": ({"filters": [4, 6, 8, 8]}, [8, 32, 32]),
}


def labels_of(registry: Registry, name: str, grid: HeadGrid) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    segmenter = registry.load(name, device="cpu", precision="float32", threads=1)
    labels: np.ndarray[tuple[int, ...], np.dtype[np.intp]] = segmenter.segment(grid).probabilities_czyx.argmax(axis=0)
    return labels


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture(scope="module")
def grid() -> HeadGrid:
    """The kept scan, on the models' own grid."""
    hu_zyx, _ = kept_scan()
    hu = hu_zyx[8:16, 40:104, 40:104].astype(np.float32)
    return HeadGrid(hu_zyx=hu, spacing_zyx_mm=SPACING_ZYX_MM, scanned_zyx=np.ones(hu.shape, dtype=np.bool_))


SEVERAL = {"in_channels": 2, "hu_range": [-20.0, 1000.0], "hu_windows": [[0.0, 100.0], [-20.0, 1000.0]]}


@pytest.mark.parametrize("seen", [{}, SEVERAL], ids=["one window", "two windows"])
@pytest.mark.parametrize("name", NETWORKS)
def test_read_back_it_gives_the_same_labels(
    name: str, seen: dict[str, Any], registry: Registry, grid: HeadGrid, tmp_path: Path
) -> None:
    """Every voxel, and the labels with their codes, the terms and the scaling; of what came back once more, too."""
    parameters, window = NETWORKS[name][0] | seen, NETWORKS[name][1]
    spec = entry(registry, name, parameters, window)
    write_bundle(registry, spec.name, tmp_path / "out")
    again = add_model(registry, tmp_path / "out", name="again")
    assert (again.family, again.labels, again.licence, again.hu_window) == (
        "bundle",
        spec.labels,
        spec.licence,
        spec.hu_window,
    )
    expected, found = labels_of(registry, spec.name, grid), labels_of(registry, "again", grid)
    assert len(np.unique(expected)) > 2
    # of the phantom U-Net the finest kernels lie between zeros: another order of sums
    assert int((found != expected).sum()) <= (3 if name == "phantom-unet" else 0)
    write_bundle(registry, "again", tmp_path / "once more")
    add_model(registry, tmp_path / "once more", name="third")
    assert np.array_equal(labels_of(registry, "third", grid), found)


@pytest.mark.parametrize("seen", [{}, SEVERAL], ids=["one window", "two windows"])
def test_monai_runs_it(seen: dict[str, Any], registry: Registry, tmp_path: Path) -> None:
    """MONAI's own transforms, network and inferer mark what Ichor marks when it looks everywhere."""
    parameters, window = NETWORKS["unet-3d"][0] | seen, NETWORKS["unet-3d"][1]
    spec = entry(registry, "unet-3d", parameters, window, everywhere=True)
    write_bundle(registry, spec.name, tmp_path / "out")
    metadata = json.loads((tmp_path / "out" / "configs" / "metadata.json").read_text())
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"]["1"] == "IPH"
    assert "$" not in (tmp_path / "out" / "configs" / "inference.json").read_text()
    hu_zyx, _ = kept_scan()
    head = HeadGrid(
        hu_zyx=hu_zyx.astype(np.float32),
        spacing_zyx_mm=SPACING_ZYX_MM,
        scanned_zyx=np.ones(hu_zyx.shape, dtype=np.bool_),
    )
    found = labels_of(registry, spec.name, head)
    assert len(np.unique(found)) > 2
    said = bundle_answer(tmp_path / "out", orientation="SPL")
    assert (said != found).mean() < 1e-4  # another order of sums moves a voxel that lies on the fence


def test_what_a_bundle_cannot_say_is_refused(registry: Registry, tmp_path: Path) -> None:
    """Networks not of MONAI, mirror images, masked answers, no member chosen, a folder in the way."""
    parameters, window = NETWORKS["phantom-unet"]
    cases = {
        "no class of MONAI": entry(registry, "se-unet-3d", {"filters": [8, 16, 16]}, [8, 32, 32]),
        "answer_hu": entry(registry, "phantom-unet", parameters, window, answer_hu=[0, 100]),
        "mirror_image": entry(
            registry, "attention-unet", {"channels": [4, 8, 8], "in_channels": 2}, [8, 32, 32], mirror_image=True
        ),
    }
    for why, spec in cases.items():
        with pytest.raises(ModelRefused, match=why):
            write_bundle(registry, spec.name, tmp_path / "out")
    with pytest.raises(ModelRefused, match="members"):
        write_bundle(registry, "blast-ct-v1", tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelRefused, match="already"):
        write_bundle(registry, "phantom-demo", tmp_path / "out")


def test_blocks_of_voxels_are_refused(registry: Registry, tmp_path: Path) -> None:
    """A phantom U-Net with `subpixel` is no DynUNet."""
    parameters, window = NETWORKS["phantom-unet"]
    spec = entry(registry, "phantom-unet", parameters | {"subpixel": 2}, window)
    with pytest.raises(ModelRefused, match="subpixel"):
        write_bundle(registry, spec.name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_windows_that_would_give_other_labels_are_refused(registry: Registry, tmp_path: Path) -> None:
    """Copies that are not clipped, are made before the scan is turned, or are not all joined: each is named."""
    spec = entry(registry, "unet-3d", NETWORKS["unet-3d"][0] | SEVERAL, NETWORKS["unet-3d"][1])
    write_bundle(registry, spec.name, tmp_path / "out")
    path = tmp_path / "out" / "configs" / "inference.json"
    whole = path.read_text(encoding="utf-8")

    def refused(why: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
        config = json.loads(whole)
        change(config["preprocessing"]["transforms"])
        path.write_text(json.dumps(config), encoding="utf-8")
        with pytest.raises(ModelRefused, match=why):
            add_model(registry, tmp_path / "out", name="other")

    kinds = [one["_target_"] for one in json.loads(whole)["preprocessing"]["transforms"]]
    copy, join, scale = (kinds.index(kind) for kind in ("CopyItemsd", "ConcatItemsd", "ScaleIntensityRanged"))
    refused("clipped", lambda said: said[scale].update(clip=False))
    refused("together last", lambda said: said.insert(0, said.pop(copy)))
    refused("channels", lambda said: said[join].update(keys=said[join]["keys"][:1]))
    refused("channels", lambda said: said[join].update(dim=1))
    refused("many names", lambda said: said[copy].update(times=3))
    refused("every copy", lambda said: said.pop(scale))
    refused("no ConcatItemsd", lambda said: said.pop(join))
    refused("no copy", lambda said: said[scale].update(keys="image"))
