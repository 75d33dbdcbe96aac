"""Results in a real OHIF: the overlay lies on the lesion, the report says its volume, the summary is seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.phantoms import PhantomPlan
from tests.peers.orthanc import Orthanc
from tests.viewer.browser import chromium
from tests.viewer.ohif import Ohif, built_viewer
from tests.viewer.page import Viewer, painted
from tests.viewer.studies import FINE, LESION, STRAIGHT, ResultStudy, phantom_study, tilted_study
from worker.output.naming import SERIES_ORDER, Kind
from worker.output.profile import Profile
from worker.output.sheet import BANNERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

SEGMENTING, READING = "segmentation", "viewer"
"""Modes of the viewer: only the first takes a SEG, only the second shows the numbers of an SR."""
LEAST_PIXELS = 300
NEAR_MM = 5.0


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for all studies."""
    orthanc = Orthanc(tmp_path_factory.mktemp("pacs"))
    orthanc.start()
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module")
def ohif(pacs: Orthanc) -> Iterator[str]:
    """The viewer's address."""
    with Ohif(built_viewer(), pacs) as served:
        yield served.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all studies."""
    with chromium() as started:
        yield started


@pytest.fixture
def viewer(browser: Browser, ohif: str) -> Iterator[Viewer]:
    """A tab of its own."""
    opened = Viewer.open(browser, ohif)
    yield opened
    opened.page.close()


def number(kind: Kind) -> int:
    """Give the series number that the list shows."""
    return Profile().series_number + SERIES_ORDER.index(kind)


def keep(viewer: Viewer, name: str) -> None:
    """Save a screenshot where `make test-viewer SCREENSHOTS=...` wants them."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        viewer.keep(Path(folder) / f"{name}.png")


def look_at(viewer: Viewer, study: ResultStudy, name: str) -> None:
    """Open segmentation, report and summary, as a person would, and compare each with what is true."""
    overlay_lies_on_the_lesion(viewer, study, name)
    viewer.show_study(study, READING)
    summary_shows(viewer, study, "suspected")
    viewer.open_series(number("sr"), lambda: viewer.has_text(f"Volume: {study.volume_ml:.2f} ml"))
    keep(viewer, f"{name}-sr")
    viewer.assert_well()


def overlay_lies_on_the_lesion(viewer: Viewer, study: ResultStudy, name: str) -> None:
    before = viewer.show_study(study, SEGMENTING)
    series = study.series_instance_uid
    assert painted(before)[0] < LEAST_PIXELS / 10
    viewer.open_series(number("seg"), lambda: viewer.has_text("Do you want to open this Segmentation?"))
    viewer.click("Yes")
    viewer.click("Intraparenchymal")  # the viewer goes to the middle of the segment
    after = viewer.wait_for_picture(series, lambda pixels: painted(pixels)[0] > LEAST_PIXELS)
    _, x, y = painted(after)
    off_mm = viewer.place_of(series, x, y) - study.centre_lps_mm
    assert np.linalg.norm(off_mm) < NEAR_MM, off_mm
    keep(viewer, f"{name}-seg")


def summary_shows(viewer: Viewer, study: ResultStudy, banner: str) -> None:
    red, green, blue = BANNERS[banner][0]

    def has_banner() -> bool:
        pixels = viewer.picture_of(study.context.identity.uid("summary-series"))
        if pixels is None:
            return False
        return bool((np.abs(pixels - np.array([red, green, blue])).max(axis=-1) < 12).mean() > 0.005)

    viewer.open_series(number("summary"), has_banner)


def test_a_straight_axial_series(viewer: Viewer, pacs: Orthanc, tmp_path: Path) -> None:
    """5 mm, no tilt: what most scanners send."""
    study = phantom_study(tmp_path, STRAIGHT)
    study.store(pacs)
    look_at(viewer, study, "straight")


def test_a_tilted_uneven_series(viewer: Viewer, pacs: Orthanc, tmp_path: Path, test_data_dir: Path) -> None:
    """A real GE head, gantry tilted by 18.5 degrees, gaps of 4 and 7 mm, with a bleed painted in."""
    study = tilted_study(tmp_path, test_data_dir)
    study.store(pacs)
    look_at(viewer, study, "tilted")


def test_two_hundred_fine_slices(viewer: Viewer, pacs: Orthanc, tmp_path: Path) -> None:
    """1 mm, 200 slices."""
    study = phantom_study(tmp_path, FINE)
    study.store(pacs)
    look_at(viewer, study, "fine")


def test_nothing_marked(viewer: Viewer, pacs: Orthanc, tmp_path: Path) -> None:
    """Report and summary of a study in which nothing was marked open as well."""
    study = phantom_study(tmp_path, PhantomPlan(lesions=(LESION,), seed=5, rows=128, columns=128), unmarked=True)
    study.store(pacs)
    viewer.show_study(study, READING)
    summary_shows(viewer, study, "none_marked")
    viewer.open_series(number("sr"), lambda: viewer.has_text("This does NOT exclude haemorrhage"))
    viewer.assert_well()
    keep(viewer, "unmarked-sr")
