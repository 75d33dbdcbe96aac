"""Which models there are, where their weights lie, and how they come: search, verify, pull, load.

Every file is compared with the SHA-256 in the model's spec before anything reads it. Importing this module costs no
torch, so that listing models and starting a node stay quick.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from ichor.errors import ModelCorrupted, ModelError, ModelNotFound, TransientError
from models.spec import load_spec
from models.trust import require_trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from models.segmenter import Segmenter
    from models.spec import FileSpec, ModelSpec

SHIPPED_SPECS = Path(__file__).parent / "specs"
SHIPPED_WEIGHTS = Path(__file__).parent / "weights"
SPEC_FILE = "model.json"
CARD_FILE, MANIFEST_FILE = "card.md", "manifest.json"  # for people; a model trained here has them
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0  # for each read, not for the whole file


class ModelUnreachable(TransientError):
    """The model's files cannot be downloaded now."""

    code = "model_unreachable"


@dataclass(frozen=True, slots=True)
class Registry:
    """The shipped models, and those whose folders in `models_dir` hold a `model.json`."""

    models_dir: Path
    weights_dirs: tuple[Path, ...] = ()  # each with one folder per model; searched before models_dir

    def names(self) -> list[str]:
        """Return the names of all known models, sorted."""
        return sorted(self._spec_paths())

    def spec(self, name: str) -> ModelSpec:
        """Return a model's spec; raise ModelNotFound, naming the nearest, where there is none."""
        paths = self._spec_paths()
        if name not in paths:
            near = difflib.get_close_matches(name, paths, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(paths))}."
            raise ModelNotFound(f"There is no model {name!r}: {hint}")
        spec = load_spec(paths[name])
        if spec.name != name:
            raise ModelError(f"The spec {paths[name]} names itself {spec.name!r}, not {name!r}.")
        return spec

    def available(self, name: str) -> bool:
        """Whether all files are at hand, by name and size; `load` compares their SHA-256."""
        return self._find(self.spec(name), right_size=True) is not None

    def locate(self, name: str) -> Path:
        """Return the folder with all of a model's files; raise ModelNotFound where they are not at hand."""
        spec = self.spec(name)
        # files of a wrong size are found too: loading them then says that they are damaged, not that they are missing
        folder = self._find(spec, right_size=True) or self._find(spec, right_size=False)
        if folder is None:
            raise ModelNotFound(
                f"The weights of {name} are not here: get them with `ichor models pull {name}`, "
                f"with `--from DIR` where the files lie on disk."
            )
        return folder

    def manifest(self, name: str) -> Path | None:
        """Return the record of a model's training; None for one that `ichor train` did not make."""
        folder = self.locate(name)
        path = folder / (f"{name}.{MANIFEST_FILE}" if folder == SHIPPED_WEIGHTS else MANIFEST_FILE)
        return path if path.is_file() else None

    def pull(
        self, name: str, *, source: Path | None = None, on_progress: Callable[[float], None] | None = None
    ) -> Path:
        """Bring a model's files into `models_dir/name`: copied from `source`, else downloaded; return the folder.

        Files that are there and right are kept. Each appears under its name only when it is whole and verified.
        Raises ModelNotFound, ModelCorrupted, or ModelUnreachable, which may pass.
        """
        spec = self.spec(name)
        folder = self.models_dir / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        total_bytes = sum(file.size_bytes for file in spec.files)
        done_bytes = 0
        for file in spec.files:
            target = folder / file.name
            if not _is_right(target, file):
                chunks = _copied(source, file) if source is not None else _downloaded(spec, file)
                _write_verified(target, file, chunks)
            done_bytes += file.size_bytes
            if on_progress is not None:
                on_progress(done_bytes / total_bytes)
        return folder

    def load(
        self,
        name: str,
        *,
        members: int | tuple[int, ...] | None = None,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
    ) -> Segmenter:
        """Load a model, ready to run. `members`: at most how many, counted from the first, or which; None for all.

        Every file that is loaded is verified first; a wrong SHA-256 raises ModelCorrupted and nothing is unpickled.
        """
        spec = self.spec(name)
        chosen = _chosen_members(spec, members)
        folder = self.locate(name)
        files = [folder / spec.files[member - 1].name for member in chosen]
        for member, path in zip(chosen, files, strict=True):
            verify(path, spec.files[member - 1])
        if spec.family == "deepmedic":
            # delayed: importing torch and MONAI takes seconds, which listing and pulling models must not pay
            from models.engines.deepmedic import load_deepmedic

            return load_deepmedic(spec, files, members=chosen, device=device, precision=precision, threads=threads)
        require_trust(folder, spec)
        # delayed for the same reason
        from models.engines.loading import load_same_size, load_slice_maps

        if spec.family == "slice-maps":
            return load_slice_maps(spec, files, members=chosen, device=device, precision=precision, threads=threads)
        return load_same_size(spec, files, members=chosen, device=device, precision=precision, threads=threads)

    def _spec_paths(self) -> dict[str, Path]:
        added = {path.parent.name: path for path in self.models_dir.glob(f"*/{SPEC_FILE}")}
        # a shipped spec cannot be replaced by a file that lies in the models folder
        return added | {path.stem: path for path in SHIPPED_SPECS.glob("*.json")}

    def _find(self, spec: ModelSpec, *, right_size: bool) -> Path | None:
        folders = [*(folder / spec.name for folder in self.weights_dirs), self.models_dir / spec.name, SHIPPED_WEIGHTS]
        for folder in folders:
            paths = [folder / file.name for file in spec.files]
            if all(path.is_file() for path in paths) and (
                not right_size or all(_has_size(folder / file.name, file.size_bytes) for file in spec.files)
            ):
                return folder
        return None


def default_registry(models_dir: Path, environ: Mapping[str, str]) -> Registry:
    """Build the registry of an entry point: `ICHOR_WEIGHTS`, else `../shared/weights` beside a checkout."""
    named = environ.get("ICHOR_WEIGHTS", "")
    if named:
        return Registry(models_dir, (Path(named),))
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "weights"
    return Registry(models_dir, (beside,) if beside.is_dir() else ())


def verify(path: Path, file: FileSpec) -> None:
    """Compare a file with its spec; raise ModelCorrupted where its SHA-256 is another."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise ModelNotFound(f"The weight file {path} cannot be read: {error.strerror}.") from error
    _compare(path, file, digest.hexdigest())


def _compare(path: Path, file: FileSpec, sha256: str) -> None:
    if sha256 != file.sha256:
        raise ModelCorrupted(
            f"The weight file {path} has SHA-256 {sha256[:12]}…, its spec says {file.sha256[:12]}…; it is not used."
        )


def _is_right(path: Path, file: FileSpec) -> bool:
    if not _has_size(path, file.size_bytes):
        return False
    try:
        verify(path, file)
    except ModelCorrupted:
        return False
    return True


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size_bytes
    except OSError:
        return False


def _copied(source: Path, file: FileSpec) -> Iterable[bytes]:
    path = source / file.name
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise ModelNotFound(f"The weight file {path} cannot be read: {error.strerror}.") from error


def _downloaded(spec: ModelSpec, file: FileSpec) -> Iterable[bytes]:
    if not file.url:
        raise ModelNotFound(f"The spec of {spec.name} says no address for {file.name}: pull it with `--from DIR`.")
    try:
        with httpx.stream("GET", file.url, follow_redirects=True, timeout=TIMEOUT_S) as response:
            response.raise_for_status()
            received_bytes = 0
            for chunk in response.iter_bytes(CHUNK_BYTES):
                received_bytes += len(chunk)
                if received_bytes > file.size_bytes:
                    raise ModelCorrupted(f"{file.url} sends more than the {file.size_bytes} bytes that the spec says.")
                yield chunk
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise ModelUnreachable(f"{file.url} answers with HTTP status {status}.") from error
    except httpx.HTTPError as error:
        raise ModelUnreachable(f"{file.url} cannot be downloaded: {error}.") from error


def _write_verified(target: Path, file: FileSpec, chunks: Iterable[bytes]) -> None:
    """Write to a temporary name beside the target, compare, sync, rename: the target is whole or absent."""
    digest = hashlib.sha256()
    handle, temporary_name = tempfile.mkstemp(prefix=f".{file.name}.", dir=target.parent)
    temporary = Path(temporary_name)
    try:
        with os.fdopen(handle, "wb") as stream:
            for chunk in chunks:
                digest.update(chunk)
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        _compare(target, file, digest.hexdigest())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _chosen_members(spec: ModelSpec, members: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if members is None:
        return spec.members
    chosen = tuple(range(1, min(members, len(spec.members)) + 1)) if isinstance(members, int) else members
    if not chosen or list(chosen) != sorted(set(chosen)) or chosen[0] < 1 or chosen[-1] > len(spec.members):
        raise ModelError(f"Model {spec.name} has the members 1 to {len(spec.members)}, not {members}.")
    return chosen
