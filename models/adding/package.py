"""A model as somebody hands it over: a folder, or a zip of one, which is unpacked with limits and without surprises."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ichor.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_FILES = 10_000
MOST_BYTES = 20 * 1024**3
LARGEST_JSON_BYTES = 64 * 1024**2  # nnU-Net's dataset.json and plans.json have some MB at most


class ModelRefused(ModelError):
    """The model is not taken in."""

    code = "model_refused"


@contextmanager
def open_package(path: Path) -> Iterator[Path]:
    """Give the folder of a model; a zip is unpacked for as long as the context lasts."""
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise ModelRefused(f"There is no {path}.")
    if path.suffix.lower() == ".pt2":
        raise ModelRefused(
            f"{path.name} alone does not say what it marks: give a folder that holds it and an ichor.json."
        )
    with tempfile.TemporaryDirectory(prefix="ichor-model-") as scratch:
        folder = Path(scratch)
        _unpack(path, folder)
        entries = list(folder.iterdir())
        yield entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raise ModelRefused where it is none."""
    try:
        if path.stat().st_size > LARGEST_JSON_BYTES:
            raise ModelRefused(f"{path.name} is larger than {LARGEST_JSON_BYTES >> 20} MiB.")
        plain = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelRefused(f"{path.name} of the model cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ModelRefused(f"{path.name} of the model is not JSON: {error}.") from error
    if not isinstance(plain, dict):
        raise ModelRefused(f"{path.name} of the model is not a JSON object.")
    return plain


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise ModelRefused(f"{path.name} unpacks to more than a model can be.")
            for entry in entries:
                name = PurePosixPath(entry.filename)
                is_link = (entry.external_attr >> 16) & 0o170000 == 0o120000
                if name.is_absolute() or ".." in name.parts or "\\" in entry.filename or is_link:
                    raise ModelRefused(f"{path.name} holds {entry.filename!r}, which leads out of it.")
                if entry.is_dir():
                    continue
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("wb") as stream:
                    shutil.copyfileobj(source, stream)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ModelRefused(f"{path.name} is not a zip that can be read: {error}.") from error
