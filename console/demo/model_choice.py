"""Which model the demo runs: the published ensemble where its weights can be had, else the small one that we ship."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from models.registry import default_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PREFERRED = "blast-ct-v1"
FALLBACK = "phantom-demo"
REACH_TIMEOUT_S = 5.0
DOWNLOAD_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model of this demo."""

    name: str
    members: int
    models_dir: Path


def choose_model(
    *, name: str | None, members: int | None, models_dir: Path, environ: Mapping[str, str], tell: Callable[[str], None]
) -> ModelChoice:
    """Find weights, or try to download them; raise ModelNotFound where a name was asked for that does not exist."""
    registry = default_registry(models_dir, environ)
    chosen = PREFERRED if name is None else name
    registry.spec(chosen)
    if not registry.available(chosen):
        tell(f"The weights of {chosen} are not on this machine; trying to download them.")
        download(chosen, url=registry.spec(chosen).files[0].url, models_dir=models_dir, environ=environ)
    if not registry.available(chosen) and name is None:
        tell(
            f"{PREFERRED} IS NOT TO BE HAD HERE. The demo runs on {FALLBACK}, a small network that has only ever seen "
            "this project's own phantoms: it shows the way a study takes, and NOTHING about real heads."
        )
        chosen = FALLBACK
    spec = registry.spec(chosen)
    size = len(spec.files)
    count = size if members is None else min(members, size)
    if count < size and tuple(range(1, count + 1)) not in spec.validated_subsets:
        tell(f"{count} of {size} members of {chosen} are not a validated set: the node will send no alert for them.")
    return ModelChoice(name=chosen, members=count, models_dir=models_dir)


def download(name: str, *, url: str, models_dir: Path, environ: Mapping[str, str]) -> None:
    """Fetch a model where its address answers soon; failing is no error, because there is a fallback."""
    if not url:
        return
    parts = urlsplit(url)
    try:
        httpx.head(f"{parts.scheme}://{parts.netloc}/", timeout=REACH_TIMEOUT_S)
    except httpx.HTTPError:
        return
    try:
        subprocess.run(
            [sys.executable, "-P", "-m", "console.cli", "models", "pull", name],
            env={**environ, "ICHOR_MODELS_DIR": str(models_dir)},
            stdin=subprocess.DEVNULL,
            timeout=DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return
