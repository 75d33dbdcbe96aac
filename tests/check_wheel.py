"""Build the wheel, unpack it beside the environment and check that every package and data file comes from it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ichor", "listener", "models", "worker", "console")
DATA = (
    "console/web/templates/worklist.html",
    "console/web/static/ichor.css",
    "models/specs/blast-ct-v1.json",
    "worker/result.schema.json",
    "worker/rules/head_ct.toml",
    "ichor/catalogue/migrations/env.py",
)
PROBE = """
import importlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
for name in sys.argv[2].split(","):
    place = pathlib.Path(importlib.import_module(name).__file__)
    assert place.is_relative_to(root), f"{name} was imported from {place}"
"""


def main() -> None:
    """Raise where the wheel lacks something."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools would pack what an older build left there
        pip = [sys.executable, "-m", "pip", "--quiet"]
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", scratch, ROOT], check=True)
        (wheel,) = scratch.glob("ichor_node-*.whl")
        site = scratch / "site"
        subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
        missing = [name for name in DATA if not (site / name).is_file()]
        if missing:
            raise SystemExit(f"the wheel lacks {', '.join(missing)}")
        subprocess.run(
            [sys.executable, "-P", "-c", PROBE, site, ",".join(PACKAGES)],
            check=True,
            cwd=scratch,
            env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"},
        )
        sys.stdout.write(f"{wheel.name}: {len(PACKAGES)} packages import from the wheel\n")


if __name__ == "__main__":
    main()
