"""The pages in a real browser: legible, nothing runs over the edge."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from ichor.catalogue.engine import Catalogue
from ichor.settings import load_settings
from tests.console.catalogue_of_outcomes import fill, study_uid
from tests.console.running_web import running_web
from tests.peers.programs import require

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1400,900",
)
BANNER_RGB = (122, 0, 18)
SUSPECTED_RGBS = ((179, 0, 27), (211, 33, 59))
"""The badge in the light and in the dark scheme."""


@pytest.mark.integration
def test_pages_are_painted(short_dir: Path, tmp_path: Path) -> None:
    """Chromium paints the banner and the badge of a suspected bleed on worklist and study page."""
    chromium = require("chromium")
    (short_dir / "data").mkdir()
    settings = load_settings(None, environ={"ICHOR_DATA_DIR": str(short_dir / "data")})
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    fill(catalogue, tmp_path / "files")
    with running_web(settings, catalogue) as address:
        for name, path in (("worklist", "/"), ("study", f"/studies/{study_uid('suspected')}")):
            picture = tmp_path / f"{name}.png"
            profile = f"--user-data-dir={short_dir / name}"
            command = [chromium, *FLAGS, profile, f"--screenshot={picture}", address + path]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            pixels_ji = np.asarray(Image.open(picture).convert("RGB"))
            assert share(pixels_ji, BANNER_RGB) > 0.01
            assert max(share(pixels_ji, colour) for colour in SUSPECTED_RGBS) > 0.001
    catalogue.close()


def share(pixels_ji: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Give the share of pixels of exactly this colour."""
    return float((pixels_ji == np.array(colour, dtype=np.uint8)).all(axis=-1).mean())
