"""Taking a model that `ichor train` made into the package, under the name that it is shipped by.

    python -m models.training.shipping ENTRY NAME VERSION TITLE [--proven-bfloat16 cpu]

ENTRY is the model's folder in the registry; spec, weights, card and manifest are taken. For models of one member; what
is shipped is in the wheel, so it is small.
Name a kind of device where `ichor benchmark engine --model NAME` has shown that bfloat16 agrees with float32.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import TypeAdapter

from ichor.errors import ModelError
from models.registry import MANIFEST_FILE, SHIPPED_SPECS, SHIPPED_WEIGHTS, SPEC_FILE, verify
from models.spec import ModelSpec, load_spec
from models.training.card import model_card
from models.training.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = structlog.get_logger()

MOST_BYTES = 4_000_000


def ship(
    entry: Path,
    name: str,
    version: str,
    title: str,
    *,
    proven_bfloat16: Sequence[str] = (),
    specs: Path = SHIPPED_SPECS,
    weights: Path = SHIPPED_WEIGHTS,
) -> ModelSpec:
    """Write a trained model as a shipped one; raise ModelError where it has several members or is too large."""
    trained = load_spec(entry / SPEC_FILE)
    if len(trained.files) != 1 or trained.files[0].size_bytes > MOST_BYTES:
        raise ModelError(f"{trained.name} cannot be shipped: one member of at most {MOST_BYTES / 1e6:g} MB can.")
    file = trained.files[0]
    verify(entry / file.name, file)
    shutil.copyfile(entry / file.name, weights / f"{name}.safetensors")
    proven = {"proven_bfloat16": list(proven_bfloat16)} if proven_bfloat16 else {}
    spec = replace(
        trained,
        name=name,
        version=version,
        title=title,
        files=(replace(file, name=f"{name}.safetensors"),),
        parameters=trained.parameters | proven,
    )
    path = specs / f"{name}.json"
    path.write_bytes(TypeAdapter(ModelSpec).dump_json(spec, indent=2) + b"\n")
    manifest = Manifest.from_json((entry / MANIFEST_FILE).read_bytes())
    spec = load_spec(path)
    (weights / f"{name}.{MANIFEST_FILE}").write_text(
        replace(manifest, name=name, version=version).to_json(), encoding="utf-8"
    )
    (weights / f"{name}.md").write_text(model_card(spec, manifest), encoding="utf-8")
    return spec


def main(arguments: Sequence[str] | None = None) -> None:
    """Ship a model."""
    parser = argparse.ArgumentParser(description="Take a trained model into the package.")
    parser.add_argument("entry", type=Path, help="folder of the model in the registry")
    parser.add_argument("name")
    parser.add_argument("version")
    parser.add_argument("title", help="what people read")
    parser.add_argument("--proven-bfloat16", choices=("cpu", "cuda"), action="append", default=[])
    given = parser.parse_args(arguments)
    spec = ship(given.entry, given.name, given.version, given.title, proven_bfloat16=given.proven_bfloat16)
    _log.info("shipped", name=spec.name, version=spec.version, digest=spec.digest)


if __name__ == "__main__":
    main()
