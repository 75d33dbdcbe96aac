"""The shape of the repository: what stands at its top, and that the import names are ours alone."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL = {
    ".ci",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "compose.yaml",
    "console",
    "docs",
    "ichor",
    "listener",
    "models",
    "pyproject.toml",
    "tests",
    "worker",
}
PACKAGES = ("console", "ichor", "listener", "models", "worker")


def tracked() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listing.stdout.split("\0") if name]


def test_nothing_new_stands_at_the_top_level() -> None:
    """A new room is a decision, not an accident."""
    assert {name.split("/")[0] for name in tracked()} <= TOP_LEVEL


def test_import_names_belong_to_this_distribution_alone() -> None:
    """`worker` and `models` are common names: no other installed distribution may claim them."""
    owners = importlib.metadata.packages_distributions()
    for package in PACKAGES:
        assert set(owners.get(package, ["ichor-node"])) == {"ichor-node"}


def test_no_source_file_outgrows_its_room() -> None:
    """A file past 420 lines holds more than one concept."""
    long = [
        name
        for name in tracked()
        if name.endswith(".py") and (ROOT / name).is_file() and len((ROOT / name).read_text().splitlines()) > 420
    ]
    assert long == []
