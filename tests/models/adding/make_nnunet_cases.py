"""Makes `nnunet/`: two tiny nnU-Net v2 results with the labels that nnU-Net itself gives. Needs `nnunetv2` (2.8.1).

nnunetv2 brings some forty packages that the node does not need, so it is no test dependency: this is run by hand in an
environment of its own (`pip install nnunetv2`, this repository on PYTHONPATH) and what it writes is kept.

    python -m tests.models.adding.make_nnunet_cases [CASE...]

Networks are built, saved and run by nnU-Net; they are trained for a minute on one phantom, in float32, on the CPU.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from tests.models.adding.phantom_scan import SPACING_ZYX_MM, make_scan

OUT = Path(__file__).parent / "nnunet"
LABELS = {"background": 0, "IPH": 1, "EAH": 2}
STEPS = 160
MORE_STEPS = 10  # a later fold is the one before it, trained on: other weights, soon had
CASES: dict[str, dict[str, Any]] = {
    "plain": {"folds": 2, "transpose": [0, 1, 2], "mirror": (1, 2), "patch": [16, 96, 96]},
    "residual": {"folds": 1, "transpose": [1, 2, 0], "mirror": None, "patch": [12, 64, 64]},
}


def plans_of(case: str, transpose: list[int], patch: list[int]) -> dict[str, Any]:
    """Write a plan as nnU-Net 2.8 does."""
    kernels = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    turned = {
        key: [[row[axis] for axis in transpose] for row in rows] for key, rows in (("k", kernels), ("s", strides))
    }
    arguments = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 12],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": turned["k"],
        "strides": turned["s"],
        ("n_conv_per_stage" if case == "plain" else "n_blocks_per_stage"): [1, 2, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    resample = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    kind = "PlainConvUNet" if case == "plain" else "ResidualEncoderUNet"
    fullres = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [patch[axis] for axis in transpose],
        "spacing": [SPACING_ZYX_MM[axis] for axis in transpose],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resample,
        "resampling_fn_seg_kwargs": {**resample, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resample, "order": 1},
        "batch_dice": True,
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
            "arch_kwargs": arguments,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "dataset_name": f"Dataset900_{case}",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": transpose,
        "transpose_backward": [transpose.index(axis) for axis in range(3)],
        "configurations": {"3d_base": fullres, "3d_fullres": {"inherits_from": "3d_base"}},
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 58.0, "std": 14.0, "percentile_00_5": -5.0, "percentile_99_5": 95.0}
        },
    }


def train(network: torch.nn.Module, image: torch.Tensor, truth: torch.Tensor, patch: list[int], fold: int) -> None:
    """Fit patches round the lesions."""
    random = np.random.default_rng(5 + fold)
    centres = np.argwhere(truth.numpy() > 0)
    optimiser = torch.optim.Adam(network.parameters(), lr=4e-3)
    weight = torch.tensor([1.0, 2.0, 2.0])
    for step in range(STEPS if fold == 0 else MORE_STEPS):
        # every third window lies anywhere, so that the network also sees skull and air; all are mirrored at random
        centre = centres[random.integers(len(centres))] if step % 3 else random.integers(truth.shape)
        flips = [axis for axis in range(3) if random.random() < 0.5]
        place = tuple(
            slice(start, start + side)
            for start, side in (
                (int(np.clip(at - random.integers(side), 0, size - side)), side)
                for at, side, size in zip(centre, patch, truth.shape, strict=True)
            )
        )
        optimiser.zero_grad()
        logits = network(image[place].flip(flips)[None, None])
        torch.nn.functional.cross_entropy(logits, truth[place].flip(flips)[None], weight=weight).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def lift(folder: Path, image: torch.Tensor) -> None:
    """Raise the last biases until both labels are marked: after so short a training background wins everywhere."""
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), None)
    logits = predictor.predict_logits_from_preprocessed_data(image[None]).float()
    for path in sorted(folder.glob("fold_*/checkpoint_final.pth")):
        checkpoint = torch.load(path, weights_only=False)
        for key, bias in checkpoint["network_weights"].items():
            if key.endswith("decoder.seg_layers.1.bias"):
                for label, voxels in ((1, 4000), (2, 3000)):
                    bias[label] += torch.kthvalue((logits[0] - logits[label]).flatten(), voxels).values
        torch.save(checkpoint, path)


def make(case: str, hu_zyx: npt.NDArray[np.float32], truth_zyx: npt.NDArray[np.uint8]) -> None:
    """Train, save and predict one case."""
    said = CASES[case]
    folder = OUT / case
    plans = plans_of(case, said["transpose"], said["patch"])
    dataset = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": 1, "file_ending": ".nii.gz"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans, indent=1))
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=1))
    configuration = PlansManager(plans).get_configuration("3d_fullres")
    turned = np.ascontiguousarray(hu_zyx.transpose(said["transpose"]))
    image = (torch.from_numpy(turned).clamp(-5, 95) - 58) / 14
    truth = torch.from_numpy(np.ascontiguousarray(truth_zyx.transpose(said["transpose"])).astype(np.int64))
    torch.manual_seed(0)
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        len(LABELS),
        allow_init=True,
        deep_supervision=False,
    )
    for fold in range(said["folds"]):
        train(network, image, truth, list(configuration.patch_size), fold)
        checkpoint = {
            "network_weights": network.state_dict(),
            "optimizer_state": {},
            "grad_scaler_state": None,
            "logging": {"train_losses": [np.float64(0.5), np.float32(0.25)], "epoch_end_timestamps": [1.0]},
            "_best_ema": np.float64(0.5),
            "current_epoch": STEPS,
            "init_args": {"configuration": "3d_fullres", "fold": fold, "device": torch.device("cpu")},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": said["mirror"],
        }
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    if case == "plain":
        lift(folder, image)
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), None)
    labels = predictor.predict_single_npy_array(hu_zyx[None], {"spacing": list(SPACING_ZYX_MM)}, None, None, False)
    np.savez_compressed(folder / "labels.npz", labels_zyx=labels.astype(np.uint8))
    print(case, [(index, int((labels == index).sum()), int((truth_zyx == index).sum())) for index in (1, 2)])  # noqa: T201


def main() -> None:
    """Make all cases on one phantom, which is kept with them."""
    with tempfile.TemporaryDirectory() as scratch:
        hu_zyx, truth_zyx = make_scan(Path(scratch))
    OUT.mkdir(exist_ok=True)
    np.savez_compressed(OUT / "scan.npz", hu_zyx=hu_zyx, truth_zyx=truth_zyx)
    for case in sys.argv[1:] or CASES:
        make(case, hu_zyx.astype(np.float32), truth_zyx)


if __name__ == "__main__":
    main()
