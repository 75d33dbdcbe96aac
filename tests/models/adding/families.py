"""Tiny models of every family, trained for seconds on the phantom, and what their own libraries answer."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import torch
from monai.bundle.config_parser import ConfigParser
from monai.inferers.inferer import SlidingWindowInferer
from monai.networks.nets.unet import UNet

from tests.models.adding.phantom_scan import SPACING_ZYX_MM, kept_scan

Labels = npt.NDArray[np.uint8]

THREE = ("background", "intraparenchymal hemorrhage", "extra-axial")
FIVE = ("Background", "IPH", "SDH", "EDH", "SAH", "IVH")
WINDOW_XYZ = (64, 64, 8)  # right, front, head: the axes of the bundle
STEPS = 110
NETWORK = {
    "spatial_dims": 3,
    "in_channels": 1,
    "channels": [6, 10, 14],
    "strides": [[2, 2, 1], [2, 2, 2]],
    "norm": "instance",
}
SCALE = {"a_min": -10.0, "a_max": 110.0, "b_min": 0.0, "b_max": 1.0, "clip": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Weights of a network that knows two kinds of blood; channels beyond them never win."""

    state: dict[str, torch.Tensor]


def small_network(classes: int) -> torch.nn.Module:
    return UNet(out_channels=classes, **NETWORK)  # type: ignore[arg-type]


def train_once() -> Trained:
    """Fit windows round the lesions; six channels, of which the last three are never drawn."""
    torch.manual_seed(1)
    hu_zyx, truth_zyx = kept_scan()
    image = torch.from_numpy(np.ascontiguousarray(_ras(hu_zyx)).astype(np.float32))
    image = ((image - SCALE["a_min"]) / (SCALE["a_max"] - SCALE["a_min"])).clamp(0, 1)
    truth = torch.from_numpy(np.ascontiguousarray(_ras(truth_zyx)).astype(np.int64))
    network = small_network(6)
    random = np.random.default_rng(2)
    centres = np.argwhere(truth.numpy() > 0)
    optimiser = torch.optim.Adam(network.parameters(), lr=8e-3)
    weight = torch.tensor([1.0, 2.0, 2.0, 1.0, 1.0, 1.0])
    for step in range(STEPS):
        # every other window lies anywhere, so that the network also sees skull and air
        centre = centres[random.integers(len(centres))] if step % 2 else random.integers(truth.shape)
        starts = [
            int(np.clip(at - random.integers(side), 0, size - side))
            for at, side, size in zip(centre, WINDOW_XYZ, truth.shape, strict=True)
        ]
        x, y, z = (slice(start, start + side) for start, side in zip(starts, WINDOW_XYZ, strict=True))
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(image[None, None, x, y, z]), truth[None, x, y, z], weight)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return Trained(state=network.eval().state_dict())


def _ras(array_zyx: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn (z, y, x), which leads to head, back and left, into axes to the right, front and head."""
    return array_zyx.transpose(2, 1, 0)[::-1, ::-1, :]


def _from_ras(array: npt.NDArray[Any]) -> Labels:
    return np.ascontiguousarray(array[::-1, ::-1, :].transpose(2, 1, 0)).astype(np.uint8)


def _cut(trained: Trained, classes: int) -> dict[str, torch.Tensor]:
    """Return the weights for fewer channels: the last layers' rows of the others are left out."""
    wanted = small_network(classes).state_dict()
    return {key: value[tuple(slice(side) for side in wanted[key].shape)] for key, value in trained.state.items()}


def write_bundle(folder: Path, trained: Trained, *, labels: tuple[str, ...] = THREE) -> Path:
    """Write a MONAI bundle that `python -m monai.bundle` can read."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    classes = 3 if len(labels) == 3 else 6
    metadata = {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema.json",
        "name": folder.name,
        "version": "0.1.0",
        "copyright": "Apache-2.0",
        "network_data_format": {
            "inputs": {"image": {"type": "image", "format": "hounsfield", "num_channels": 1}},
            "outputs": {"pred": {"channel_def": {str(number): name for number, name in enumerate(labels)}}},
        },
    }
    inference = {
        "image_key": "image",
        "network_def": {"_target_": "UNet", "out_channels": classes, **NETWORK},
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "@image_key"},
                {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
                {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
                {
                    "_target_": "Spacingd",
                    "keys": "@image_key",
                    "pixdim": list(reversed(SPACING_ZYX_MM)),
                    "mode": "bilinear",
                },
                {"_target_": "ScaleIntensityRanged", "keys": "@image_key", **SCALE},
                {"_target_": "EnsureTyped", "keys": "@image_key"},
            ],
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(WINDOW_XYZ),
            "sw_batch_size": 2,
            "overlap": 0.5,
            "mode": "gaussian",
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            ],
        },
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    torch.save(_cut(trained, classes), folder / "models" / "model.pt")
    return folder


def bundle_answer(folder: Path, *, orientation: str = "RAS") -> Labels:
    """Run a bundle as MONAI does, on the kept scan as NIfTI; return labels (z, y, x)."""
    hu_zyx, _ = kept_scan()
    path = folder.parent / "scan.nii.gz"
    dz, dy, dx = SPACING_ZYX_MM
    axes_lps = np.diag([-dx, -dy, dz, 1.0])
    nibabel.save(nibabel.Nifti1Image(hu_zyx.transpose(2, 1, 0), axes_lps), path)  # type: ignore[no-untyped-call]
    parser = ConfigParser()
    parser.read_config(folder / "configs" / "inference.json")
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's readers warn of decoders that a NIfTI does not need
        data = parser.get_parsed_content("preprocessing")({"image": str(path)})
    with torch.inference_mode():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network.eval())[0]
    labels = parser.get_parsed_content("postprocessing")(data)["pred"]
    marked = np.asarray(labels[0])
    return marked.astype(np.uint8) if orientation == "SPL" else _from_ras(marked)


def write_exported(folder: Path, trained: Trained) -> Path:
    """Write a torch.export program with its description."""
    folder.mkdir(parents=True)
    network = small_network(3)
    network.load_state_dict(_cut(trained, 3))
    program = torch.export.export(network.eval(), (torch.zeros(1, 1, *WINDOW_XYZ),))
    torch.export.save(program, folder / "model.pt2")
    description = {
        "labels": {"1": "IPH", "2": "EAH"},
        "spacing_zyx_mm": list(SPACING_ZYX_MM),
        "hu_window": [SCALE["a_min"], SCALE["a_max"]],
        "orientation": "RAS",
        "parameters": {
            "window": list(WINDOW_XYZ),
            "overlap": 0.5,
            "padding": 0.0,
            "scaling": {
                "kind": "range",
                "from": [SCALE["a_min"], SCALE["a_max"]],
                "to": [SCALE["b_min"], SCALE["b_max"]],
                "clip": True,
            },
        },
    }
    (folder / "ichor.json").write_text(json.dumps(description))
    return folder


def exported_answer(folder: Path) -> Labels:
    """Run the program as torch loads it, with MONAI's inferer; return labels (z, y, x)."""
    hu_zyx, _ = kept_scan()
    image = torch.from_numpy(np.ascontiguousarray(_ras(hu_zyx)).astype(np.float32))[None, None]
    image = ((image - SCALE["a_min"]) / (SCALE["a_max"] - SCALE["a_min"])).clamp(0, 1)
    network = torch.export.load(folder / "model.pt2").module()
    with torch.inference_mode():
        logits = SlidingWindowInferer(WINDOW_XYZ, overlap=0.5, mode="gaussian")(image, network)
    assert isinstance(logits, torch.Tensor)
    return _from_ras(logits[0].argmax(dim=0).numpy())
