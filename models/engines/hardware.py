"""Where and how exactly a model runs: device, precision, threads. Resolved once, when a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ichor.errors import ModelError
from models.segmenter import Precision

if TYPE_CHECKING:
    from torch import nn

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(wanted: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`; raise ModelError where there is none."""
    if wanted == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ModelError(f"There is no device {wanted!r}: say auto, cpu, cuda or cuda:N.") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise ModelError(f"Device {wanted!r} is not supported: say auto, cpu, cuda or cuda:N.")
    index = 0 if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise ModelError(f"There is no device {wanted!r}: this machine has {torch.cuda.device_count()} CUDA devices.")
    return torch.device("cuda", index)


def resolve_precision(wanted: str, device: torch.device, *, proven_bfloat16: frozenset[str]) -> Precision:
    """Return the precision to run in.

    `auto` is bfloat16 only where the device computes it natively *and* the engine's results were measured to agree
    with float32 on that type of device (`proven_bfloat16`); else float32, the reference. bfloat16 asked for by name
    runs everywhere.
    """
    if wanted == "auto":
        return "bfloat16" if device.type in proven_bfloat16 and has_native_bfloat16(device) else "float32"
    if wanted not in DTYPES:
        raise ModelError(f"There is no precision {wanted!r}: say auto, float32 or bfloat16.")
    return "float32" if wanted == "float32" else "bfloat16"


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware (AVX512-BF16, AMX, CUDA from compute capability 8.0)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def lay_channels_last(network: nn.Module) -> None:
    """Lay the weights of 3D convolutions channels last, in place: processors convolve so a third faster, any precision.

    Weights over slices or profiles, which a network may hold beside those over volumes, stay.
    """
    for weight in network.parameters():
        if weight.ndim == 5:
            weight.data = weight.data.to(memory_format=torch.channels_last_3d)


def set_threads(threads: int) -> None:
    """Let torch use this many threads in this process; 0 leaves torch's own choice."""
    if threads < 0:
        raise ModelError(f"The number of threads cannot be {threads}.")
    if threads:
        torch.set_num_threads(threads)
