"""From verified files to a model that is ready to run, one function for every family.

Weights come as safetensors, which hold numbers and nothing else; `models.adding` has turned foreign files into these.
The two exceptions say why: published BLAST-CT weights are state dicts that torch reads without running anything
(`weights_only`), and a `.pt2` is code that somebody has vouched for.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ichor.errors import ModelCorrupted, ModelError
from models.engines.hardware import resolve_device, resolve_precision, set_threads
from models.engines.memory import is_out_of_memory
from models.engines.slice_maps import SliceMapSegmenter
from models.engines.sliding_window import SlidingWindowSegmenter
from models.networks.catalogue import build
from models.networks.hu_windows import behind_windows
from models.networks.monai_networks import build_monai
from models.networks.nnunet import build_nnunet
from models.networks.swin_classifier import build_classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from torch import nn

    from models.networks.swin_classifier import SwinClassifier
    from models.spec import ModelSpec

_DEVICE_TYPES = ("cpu", "cuda")

_BUILDERS: Mapping[str, Callable[[str, Mapping[str, Any]], nn.Module]] = {
    "zoo": build,
    "bundle": lambda name, parameters: behind_windows(parameters, partial(build_monai, name)),
    "nnunet": build_nnunet,
    "slice-maps": build_classifier,
}


def load_same_size(
    spec: ModelSpec,
    files: Sequence[Path],
    *,
    members: tuple[int, ...],
    device: str,
    precision: str,
    threads: int,
) -> SlidingWindowSegmenter:
    """Load one verified file per member; raise ModelError or ModelCorrupted where it does not fit the spec."""
    set_threads(threads)
    resolved_device = resolve_device(device)
    resolved = resolve_precision(precision, resolved_device, proven_bfloat16=_proven_bfloat16(spec))
    read = _read_exported if spec.family == "export" else _read_network
    networks = [read(spec, file).to(resolved_device) for file in files]
    return SlidingWindowSegmenter(spec, networks, members=members, precision=resolved, device=resolved_device)


def load_slice_maps(
    spec: ModelSpec,
    files: Sequence[Path],
    *,
    members: tuple[int, ...],
    device: str,
    precision: str,
    threads: int,
) -> SliceMapSegmenter:
    """Load classifiers whose maps are the segmentation; raise ModelError where bfloat16 is asked for by name."""
    set_threads(threads)
    resolved_device = resolve_device(device)
    if resolve_precision(precision, resolved_device, proven_bfloat16=frozenset()) != "float32":
        raise ModelError(f"{spec.name} draws maps from gradients, in float32 alone; say auto or float32.")
    classifiers = []
    for file in files:
        network = cast("SwinClassifier", _read_network(spec, file))  # what the family builds
        classifiers.append(network.to(resolved_device).requires_grad_(requires_grad=False))
    return SliceMapSegmenter(spec, classifiers, members=members, device=resolved_device)


def _proven_bfloat16(spec: ModelSpec) -> frozenset[str]:
    """Return the types of device on which somebody measured that this network agrees with itself in float32."""
    proven = spec.parameters.get("proven_bfloat16", [])
    if not isinstance(proven, list) or not all(device in _DEVICE_TYPES for device in proven):
        raise ModelError(f"The spec's parameter proven_bfloat16 must list cpu, cuda or both, not {proven!r}.")
    return frozenset(proven)


def network_of(spec: ModelSpec) -> nn.Module:
    """Build the network that a spec describes, untrained; raise ModelError where it describes none that is known."""
    name, parameters = spec.parameters.get("network"), spec.parameters.get("network_parameters", {})
    if not isinstance(name, str) or not isinstance(parameters, dict):
        raise ModelError(f"The spec of {spec.name} must name a network and give its network_parameters as an object.")
    return _BUILDERS[spec.family](name, parameters)


def _read_network(spec: ModelSpec, file: Path) -> nn.Module:
    network = network_of(spec)
    try:
        network.load_state_dict(load_file(file), strict=True)
    except (SafetensorError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise  # the file is sound, the host is full
        raise ModelCorrupted(
            f"{file.name} does not hold the weights that its spec describes: {_first_line(error)}"
        ) from error
    return network.eval()


def _read_exported(spec: ModelSpec, file: Path) -> nn.Module:
    """Load a torch.export program. This can run code: the registry asks first whether somebody vouched for it."""
    try:
        program = torch.export.load(file)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ModelCorrupted(
            f"{file.name} of {spec.name} is not a torch.export program: {_first_line(error)}"
        ) from error
    network: nn.Module = program.module()
    return network


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
