"""An nnU-Net v2 results folder: `plans.json`, `dataset.json` and `fold_*/checkpoint_final.pth`.

The network is built here from the plan's numbers, the weights are read without running anything, folds become members.
What nnU-Net does before and behind its network is done here as it does it, but for one thing: resampling to the plan's
spacing is the node's own, which knows of tilted and uneven slices. A plan that wants anything else is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from models.adding.description import NOT_STATED
from models.adding.draft import Draft
from models.adding.package import ModelRefused, read_json
from models.adding.tensors import read_saved, tensors_of
from models.engines.preparation import AXIS_OF, GRID_ORIENTATION
from models.networks.nnunet import KINDS, Layout, own_keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from models.adding.description import Description

PLANS, DATASET, CHECKPOINT = "plans.json", "dataset.json", "checkpoint_final.pth"
_FOLD = re.compile(r"fold_(\d+|all)")
_PACKAGE = "dynamic_network_architectures.architectures.unet."
_EXPECTED = {
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}


def is_nnunet(folder: Path) -> bool:
    """Whether a folder, or one in it, holds an nnU-Net v2 result."""
    return len(_results(folder)) > 0


def read_nnunet(folder: Path, description: Description) -> Draft:
    """Read a results folder; raise ModelRefused where it wants what is not known to give the same labels."""
    results = _results(folder)
    if len(results) > 1:
        raise ModelRefused(f"There are {len(results)} nnU-Net results in {folder.name}; give the folder of one.")
    (result,) = results
    plans, dataset = read_json(result / PLANS), read_json(result / DATASET)
    folds = sorted(
        path for path in result.glob(f"fold_*/{CHECKPOINT}") if re.fullmatch(r"fold_(\d+|all)", path.parent.name)
    )
    if not folds:
        raise ModelRefused(f"The nnU-Net folder has no fold_*/{CHECKPOINT}.")
    checkpoints = [read_saved(path) for path in folds]
    name = _configuration_name(checkpoints[0])
    configuration = _configuration(plans, name)
    labels = description.labels_of(_label_names(dataset))
    transpose = _transpose(plans)
    letters = description.orientation or GRID_ORIENTATION
    spacing = _triple(configuration, "spacing")
    window = [int(side) for side in _triple(configuration, "patch_size")]
    low, high, scaling = _scaling(configuration, plans)
    network, network_parameters = _network(configuration, classes=len(labels) + 1)
    for side, divisor in zip(window, Layout.from_parameters(network_parameters).divisors, strict=True):
        if side % divisor:
            raise ModelRefused(f"The plan's patch {window} is impossible: {side} is no multiple of {divisor}.")
    along_mm = {AXIS_OF[letters[axis]]: spacing[number] for number, axis in enumerate(transpose)}
    dataset_name = str(plans.get("dataset_name") or result.name)
    return Draft(
        family="nnunet",
        name=dataset_name,
        version="1",
        title=f"{dataset_name}, {name}",
        licence=str(dataset.get("licence") or dataset.get("license") or NOT_STATED),
        source=f"nnU-Net v2 results of {dataset_name}, {name}, {', '.join(path.parent.name for path in folds)}",
        spacing_zyx_mm=(along_mm[0], along_mm[1], along_mm[2]),
        hu_window=(low, high),
        labels=labels,
        parameters={
            "network": network,
            "network_parameters": network_parameters,
            "orientation": "".join(letters[axis] for axis in transpose),
            "scaling": scaling,
            "window": window,
            "overlap": 0.5,
            "tiling": "nnunet",
            "flips": _mirror_axes(checkpoints[0]),
            "everywhere": True,
        },
        members=tuple(_weights(checkpoint, path) for checkpoint, path in zip(checkpoints, folds, strict=True)),
    )


def _results(folder: Path) -> list[Path]:
    return sorted(
        path.parent
        for path in (folder / PLANS, *folder.glob(f"*/{PLANS}"), *folder.glob(f"*/*/{PLANS}"))
        if path.is_file() and (path.parent / DATASET).is_file()
    )


def _configuration_name(checkpoint: Mapping[str, Any]) -> str:
    arguments = checkpoint.get("init_args")
    name = arguments.get("configuration") if isinstance(arguments, dict) else None
    if not isinstance(name, str):
        raise ModelRefused(f"{CHECKPOINT} does not say its configuration.")
    return name


def _configuration(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration with what it inherits (`inherits_from`)."""
    known = plans.get("configurations")
    if not isinstance(known, dict):
        raise ModelRefused("plans.json has no configurations.")
    chain: list[dict[str, Any]] = []
    wanted: Any = name
    while wanted is not None:
        found = known.get(wanted)
        if not isinstance(found, dict) or len(chain) > len(known):
            raise ModelRefused(f"plans.json has no usable configuration {name!r}.")
        chain.append(found)
        wanted = found.get("inherits_from")
    merged = {key: value for found in reversed(chain) for key, value in found.items()}
    if merged.get("previous_stage") is not None:
        raise ModelRefused(f"Configuration {name} is the second stage of a cascade, which is not supported.")
    if merged.get("preprocessor_name", "DefaultPreprocessor") != "DefaultPreprocessor":
        raise ModelRefused(f"The preprocessor {merged['preprocessor_name']!r} is not supported.")
    return merged


def _label_names(dataset: Mapping[str, Any]) -> dict[int, str]:
    channels, labels = dataset.get("channel_names"), dataset.get("labels")
    if not isinstance(channels, dict) or len(channels) != 1:
        raise ModelRefused("The nnU-Net model wants other than one channel; a CT has one.")
    if not isinstance(labels, dict) or labels.get("background") != 0:
        raise ModelRefused("dataset.json must give labels, and 0 to the background.")
    names: dict[int, str] = {}
    for called, index in labels.items():
        if type(index) is not int or called == "ignore":
            raise ModelRefused("Models that were trained on regions or with an ignore label are not supported.")
        if index:
            names[index] = str(called)
    return names


def _transpose(plans: Mapping[str, Any]) -> tuple[int, int, int]:
    axes = plans.get("transpose_forward", [0, 1, 2])
    if not isinstance(axes, list) or sorted(axes) != [0, 1, 2]:
        raise ModelRefused(f"The plan's transpose_forward must order three axes, not {axes!r}.")
    return axes[0], axes[1], axes[2]


def _triple(configuration: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    values = configuration.get(key)
    if (
        not isinstance(values, list)
        or len(values) != 3
        or not all(isinstance(v, int | float) and v > 0 for v in values)
    ):
        raise ModelRefused(f"The plan's {key} must be three numbers, not {values!r}: only 3D configurations are taken.")
    return float(values[0]), float(values[1]), float(values[2])


def _scaling(configuration: Mapping[str, Any], plans: Mapping[str, Any]) -> tuple[float, float, dict[str, Any]]:
    schemes = configuration.get("normalization_schemes")
    if schemes != ["CTNormalization"]:
        raise ModelRefused(f"The plan normalises with {schemes!r}; for CT it must be CTNormalization.")
    try:
        found = plans["foreground_intensity_properties_per_channel"]["0"]
        low, high = float(found["percentile_00_5"]), float(found["percentile_99_5"])
        return low, high, {"kind": "standard", "clip": [low, high], "mean": found["mean"], "std": found["std"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelRefused("plans.json does not give the intensities that CTNormalization needs.") from error


def _network(configuration: Mapping[str, Any], *, classes: int) -> tuple[str, dict[str, Any]]:
    architecture = configuration.get("architecture")
    arguments = architecture.get("arch_kwargs") if isinstance(architecture, dict) else None
    if not isinstance(architecture, dict) or not isinstance(arguments, dict):
        raise ModelRefused("plans.json describes no architecture: it was written by nnU-Net before 2.4.")
    kind = str(architecture.get("network_class_name", "")).removeprefix(_PACKAGE)
    if kind not in KINDS:
        raise ModelRefused(
            f"The plan's network {architecture.get('network_class_name')!r} is none of {', '.join(KINDS)}."
        )
    for key, expected in _EXPECTED.items():
        if arguments.get(key, expected) != expected:
            raise ModelRefused(f"The plan's {key} {arguments[key]!r} is not supported.")
    stages = arguments.get("n_stages")
    blocks = arguments.get("n_conv_per_stage" if kind == KINDS[0] else "n_blocks_per_stage")
    per_stage = stages if type(stages) is int and 0 < stages < 100 else 1
    parameters = {
        "stages": stages,
        "features": _spread(arguments.get("features_per_stage"), per_stage),
        "kernels": [_spread(kernel, 3) for kernel in _spread(arguments.get("kernel_sizes"), per_stage)],
        "strides": [_spread(stride, 3) for stride in _spread(arguments.get("strides"), per_stage)],
        "blocks": _spread(blocks, per_stage),
        "decoder_convolutions": _spread(arguments.get("n_conv_per_stage_decoder"), per_stage - 1),
        "bias": arguments.get("conv_bias", False) is True,
        "classes": classes,
    }
    Layout.from_parameters(parameters)
    return kind, parameters


def _spread(value: Any, count: int) -> Any:
    """Return a number as a list of equal ones, as the plan means it; anything else as it is."""
    return [value] * count if type(value) is int else value


def _mirror_axes(checkpoint: Mapping[str, Any]) -> list[int]:
    axes = checkpoint.get("inference_allowed_mirroring_axes")
    return [] if axes is None else sorted(int(axis) for axis in axes)


def _weights(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Any]:
    weights = checkpoint.get("network_weights")
    if not isinstance(weights, dict):
        raise ModelRefused(f"{path.parent.name}/{path.name} has no network_weights.")
    return own_keys(tensors_of(weights, path))
