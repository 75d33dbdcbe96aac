"""`ichor models add` and `remove`: a model appears in the models folder whole, loaded once and tried, or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file

from ichor.clock import utc_now
from models.adding.bundle import is_bundle, read_bundle
from models.adding.description import NOT_STATED, read_description
from models.adding.exported import is_exported, read_exported
from models.adding.nnunet import is_nnunet, read_nnunet
from models.adding.package import ModelRefused, open_package
from models.registry import CARD_FILE, MANIFEST_FILE, SPEC_FILE, Registry, verify
from models.spec import FileSpec, ModelSpec, ModelSpecInvalid, load_spec
from models.trust import CODE_FAMILIES, ModelNotTrusted, write_trust

if TYPE_CHECKING:
    from models.adding.description import Description
    from models.adding.draft import Draft

INTENDED_USE = "Research use only. Added by this department; not validated by Ichor."
_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What the person who adds a model allows."""

    code: bool = False
    """Loading files that can run code."""
    drop_expressions: bool = False
    """Leaving out a bundle's expressions where they are not needed."""


def add_model(registry: Registry, path: Path, *, name: str | None = None, consent: Consent | None = None) -> ModelSpec:
    """Add a model from a folder or zip to the models folder; return its spec.

    Raises ModelRefused, ModelNotTrusted, ModelCorrupted or ModelSpecInvalid in one sentence; then nothing has changed.
    """
    consent = Consent() if consent is None else consent
    registry.models_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        open_package(path) as folder,
        tempfile.TemporaryDirectory(prefix=".adding-", dir=registry.models_dir) as scratch,
    ):
        if (folder / SPEC_FILE).is_file():
            spec, new = _copied(folder, Path(scratch), consent)
        else:
            spec, new = _converted(folder, Path(scratch), path, name, consent)
        if spec.name in registry.names():
            raise ModelRefused(f"There is a model {spec.name} already: remove it first, or say another --name.")
        if spec.family in CODE_FAMILIES:
            write_trust(new, spec, trusted_at=utc_now())
        # a model that does not load, or cannot take its own windows, is refused now and not at night
        Registry(Path(scratch)).load(spec.name, device="cpu", precision="float32").warm()
        new.rename(registry.models_dir / spec.name)
    return spec


def remove_model(registry: Registry, name: str) -> None:
    """Remove an added model; raise ModelNotFound where there is none, ModelRefused where it came with Ichor."""
    registry.spec(name)
    folder = registry.models_dir / name
    if not (folder / SPEC_FILE).is_file():
        raise ModelRefused(f"{name} came with Ichor and is not removed.")
    with tempfile.TemporaryDirectory(prefix=".removing-", dir=registry.models_dir) as scratch:
        folder.rename(Path(scratch) / name)  # gone at once, whatever happens while files are deleted


def _copied(folder: Path, scratch: Path, consent: Consent) -> tuple[ModelSpec, Path]:
    """Copy a model that brings its own spec, every file verified."""
    spec = load_spec(folder / SPEC_FILE)
    _require_consent(spec.family, spec.name, consent)
    new = scratch / spec.name
    new.mkdir(mode=0o700)
    for file in spec.files:
        verify(folder / file.name, file)
        shutil.copyfile(folder / file.name, new / file.name)
    shutil.copyfile(folder / SPEC_FILE, new / SPEC_FILE)
    for name in (CARD_FILE, MANIFEST_FILE):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, new / name)
    return spec, new


def _converted(folder: Path, scratch: Path, path: Path, name: str | None, consent: Consent) -> tuple[ModelSpec, Path]:
    """Read a foreign model, and write it as a spec with safetensors."""
    description = read_description(folder)
    draft = _draft(folder, description, consent)
    said = name or description.name or _usable(draft.name) or _usable(path.stem)
    if said is None or not _NAME.match(said):
        raise ModelRefused(f"{said or draft.name!r} cannot be a model's name: say one of small letters with --name.")
    new = scratch / said
    new.mkdir(mode=0o700)
    files = _write_files(draft, new)
    spec = _spec(draft, description, said, files)
    adapter = TypeAdapter(ModelSpec)
    (new / SPEC_FILE).write_bytes(adapter.dump_json(spec, indent=1) + b"\n")
    return load_spec(new / SPEC_FILE), new


def _draft(folder: Path, description: Description, consent: Consent) -> Draft:
    if is_exported(folder):
        _require_consent("export", folder.name, consent)
        return read_exported(folder, description)
    if is_bundle(folder):
        return read_bundle(folder, description, drop_expressions=consent.drop_expressions)
    if is_nnunet(folder):
        return read_nnunet(folder, description)
    raise ModelRefused(
        f"{folder.name} is no model that is known: neither an Ichor model (model.json), a MONAI bundle "
        f"(configs/metadata.json), an nnU-Net v2 folder (plans.json) nor a torch.export program (*.pt2)."
    )


def _require_consent(family: str, name: str, consent: Consent) -> None:
    if family in CODE_FAMILIES and not consent.code:
        raise ModelNotTrusted(
            f"{name} holds a torch.export program; loading one can run code, so it was not opened. "
            f"Say --trust-code if you trust where it comes from."
        )


def _write_files(draft: Draft, new: Path) -> tuple[FileSpec, ...]:
    paths = []
    for number, tensors in enumerate(draft.members, start=1):
        paths.append(new / f"member_{number}.safetensors")
        save_file(dict(tensors), paths[-1])
    if draft.program is not None:
        paths.append(new / "program.pt2")
        shutil.copyfile(draft.program, paths[-1])
    files = []
    for path in paths:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        files.append(FileSpec(name=path.name, sha256=digest, size_bytes=path.stat().st_size))
    return tuple(files)


def _spec(draft: Draft, description: Description, name: str, files: tuple[FileSpec, ...]) -> ModelSpec:
    licence = description.licence or draft.licence
    try:
        return ModelSpec(
            name=name,
            version=description.version or draft.version,
            family=draft.family,
            title=description.title or draft.title,
            intended_use=description.intended_use or INTENDED_USE,
            licence=licence or NOT_STATED,
            source=description.source or draft.source,
            research_only=True,
            spacing_zyx_mm=description.spacing_zyx_mm or draft.spacing_zyx_mm,
            hu_window=description.hu_window or draft.hu_window,
            labels=draft.labels,
            files=files,
            parameters={**draft.parameters, **description.parameters},
        )
    except (ValidationError, ValueError) as error:
        raise ModelSpecInvalid(f"The model cannot be described: {error}") from error


def _usable(name: str) -> str | None:
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
    return plain[:63] or None
