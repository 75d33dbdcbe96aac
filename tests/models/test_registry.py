"""Models are found, pulled and verified before anything reads them."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ichor.errors import ModelCorrupted, ModelError, ModelNotFound
from models.registry import ModelUnreachable, Registry, default_registry

Spec = dict[str, Any]
CONTENT = b"weights of a tiny model" * 1000


@pytest.fixture
def tiny(tmp_path: Path, blast_json: Spec, file_server: tuple[str, Path]) -> Registry:
    """A registry whose models folder holds the spec of a model of two files, to be had from the file server."""
    address, _ = file_server
    blast_json["name"] = "tiny"
    blast_json["files"] = [
        {
            "name": f"part_{number}.pt",
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "size_bytes": len(CONTENT),
            "url": f"{address}/part_{number}.pt",
        }
        for number in (1, 2)
    ]
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(blast_json))
    return Registry(tmp_path / "models")


def _offer(folder: Path, content: bytes = CONTENT) -> None:
    for number in (1, 2):
        (folder / f"part_{number}.pt").write_bytes(content)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    """A typing error is met with a suggestion, nonsense with the list."""
    registry = Registry(tmp_path)
    with pytest.raises(ModelNotFound, match="did you mean 'blast-ct-v1'"):
        registry.spec("blast-ct")
    with pytest.raises(ModelNotFound, match=r"there are .*blast-ct-v1"):
        registry.spec("zzzz")
    assert "blast-ct-v1" in registry.names()


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    """Locating what is not here names the command that brings it."""
    registry = Registry(tmp_path)
    assert not registry.available("blast-ct-v1")
    with pytest.raises(ModelNotFound, match="ichor models pull blast-ct-v1"):
        registry.locate("blast-ct-v1")


def test_pull_downloads_and_verifies(tiny: Registry, file_server: tuple[str, Path]) -> None:
    """What the server sends arrives whole under its name; progress ends at 1; a second pull downloads nothing."""
    _, served = file_server
    _offer(served)
    seen: list[float] = []
    folder = tiny.pull("tiny", on_progress=seen.append)
    assert (folder / "part_2.pt").read_bytes() == CONTENT
    assert seen == [0.5, 1.0]
    assert tiny.available("tiny")
    for path in served.iterdir():
        path.unlink()
    assert tiny.pull("tiny") == folder


def test_pull_copies_from_a_folder(tiny: Registry, tmp_path: Path) -> None:
    """With a source nothing is downloaded; what is missing there is named."""
    source = tmp_path / "disk"
    source.mkdir()
    _offer(source)
    assert tiny.available("tiny") is False
    tiny.pull("tiny", source=source)
    assert tiny.locate("tiny") == tmp_path / "models" / "tiny"
    with pytest.raises(ModelNotFound, match=r"model_1\.pt"):
        tiny.pull("blast-ct-v1", source=source)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"X", CONTENT + b"more"])
def test_a_wrong_download_leaves_nothing(tiny: Registry, file_server: tuple[str, Path], content: bytes) -> None:
    """Cut, changed or lengthened files raise ModelCorrupted, and no part of them stays."""
    _, served = file_server
    _offer(served, content)
    with pytest.raises(ModelCorrupted):
        tiny.pull("tiny")
    assert [path.name for path in (tiny.models_dir / "tiny").iterdir()] == ["model.json"]


def test_a_server_without_the_file_may_be_asked_again(tiny: Registry) -> None:
    """HTTP 404 is a transient error that names the address and status."""
    with pytest.raises(ModelUnreachable, match=r"part_1\.pt answers with HTTP status 404"):
        tiny.pull("tiny")


class _Marker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_swapped_file_is_never_unpickled(tiny: Registry, tmp_path: Path) -> None:
    """A malicious pickle in a weight file's place is refused by its SHA-256, of the right size or not."""
    marker = tmp_path / "marker"
    evil = pickle.dumps(_Marker(marker))
    for content in (evil, evil.ljust(len(CONTENT), b"\0")):
        _offer(tiny.models_dir / "tiny", content)
        with pytest.raises(ModelCorrupted, match="SHA-256"):
            tiny.load("tiny")
    assert not marker.exists()


def test_a_malicious_file_with_a_matching_spec_runs_nothing(tiny: Registry, tmp_path: Path) -> None:
    """Where the spec itself vouches for a pickle that holds code, weights_only refuses it."""
    marker = tmp_path / "marker"
    evil = pickle.dumps(_Marker(marker))
    folder = tiny.models_dir / "tiny"
    plain = json.loads((folder / "model.json").read_text())
    for file in plain["files"]:
        file.update(sha256=hashlib.sha256(evil).hexdigest(), size_bytes=len(evil))
    (folder / "model.json").write_text(json.dumps(plain))
    _offer(folder, evil)
    with pytest.raises(ModelCorrupted, match=r"part_1\.pt"):
        tiny.load("tiny", device="cpu")
    assert not marker.exists()


@pytest.mark.parametrize("members", [0, (0,), (3,), (2, 1), (1, 1), ()])
def test_impossible_members_are_refused(tiny: Registry, members: int | tuple[int, ...]) -> None:
    """Members are named in ascending order, each once, and there must be one."""
    _offer(tiny.models_dir / "tiny")
    with pytest.raises(ModelError, match="members 1 to 2"):
        tiny.load("tiny", members=members)


def test_the_environment_names_the_weights_folder(tmp_path: Path) -> None:
    """ICHOR_WEIGHTS comes first, and nothing else is searched beside the models folder."""
    registry = default_registry(tmp_path / "models", {"ICHOR_WEIGHTS": str(tmp_path / "weights")})
    assert registry.weights_dirs == (tmp_path / "weights",)


def test_the_registry_imports_no_torch() -> None:
    """Listing models must not cost the seconds that importing torch takes."""
    code = "import sys, models.registry, models.segmenter; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
