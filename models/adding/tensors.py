"""Weights out of foreign files, without running what may be hidden in them.

Safetensors hold numbers alone. What torch has saved is a pickle: it is read with `weights_only`, which knows how to
build tensors and plain values and refuses everything else before it happens.
"""

from __future__ import annotations

import pickle
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ichor.errors import ModelCorrupted
from models.adding.package import ModelRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SCALAR = np._core.multiarray.scalar  # type: ignore[attr-defined]  # noqa: SLF001  # what numpy's scalars are pickled as
_NUMBERS: list[Any] = [
    # nnU-Net logs losses as numpy numbers: values without behaviour. Under either name of numpy's module.
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
]
_NESTED = ("state_dict", "model", "network")


def read_saved(path: Path) -> dict[str, Any]:
    """Read a dictionary that torch saved; raise ModelRefused where it holds more than values, else ModelCorrupted."""
    try:
        with torch.serialization.safe_globals(_NUMBERS), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns of odd pickles before it refuses them
            plain = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelRefused(
            f"{path.name} is damaged, or holds other things than weights, such as code; nothing in it was run."
        ) from error
    except Exception as error:
        raise ModelCorrupted(f"{path.name} cannot be read as weights; it is damaged or of another kind.") from error
    if not isinstance(plain, dict):
        raise ModelRefused(f"{path.name} does not hold a dictionary of weights.")
    return plain


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict from safetensors or from what torch saved."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelCorrupted(f"{path.name} cannot be read as safetensors; it is damaged.") from error
    plain: Mapping[str, Any] = read_saved(path)
    for key in _NESTED:
        if isinstance(plain.get(key), dict):
            plain = plain[key]
            break
    return tensors_of(plain, path)


def tensors_of(plain: Mapping[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """Return a state dict's tensors, contiguous and none sharing memory with another."""
    if not plain or not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in plain.items()):
        raise ModelRefused(f"{path.name} is not a state dict: it holds other things than tensors.")
    return {key.removeprefix("_orig_mod."): value.detach().contiguous().clone() for key, value in plain.items()}
