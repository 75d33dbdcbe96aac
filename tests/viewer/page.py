"""What a radiologist does in OHIF: open a study, a segmentation, a report, a picture; and what is seen then."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.viewer.studies import ResultStudy

PATIENCE_MS = 180_000  # a busy machine draws slowly
AGAIN_MS = 20_000
POLL_MS = 250
SEEN_TOURS = "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))"
PLACE_OF = """([series, x, y]) => {
  const viewports = cornerstone.getRenderingEngines().flatMap((engine) => engine.getViewports());
  const shown = viewports.find((one) => (one.getCurrentImageId() ?? '').includes(series));
  return shown.canvasToWorld([x, y]);
}"""
"""Where in the patient (LPS, mm) a point of the viewport that shows this series lies, by the viewer's own reckoning."""
BOX_OF = """(series) => {
  const viewports = cornerstone.getRenderingEngines().flatMap((engine) => engine.getViewports());
  const shown = viewports.find((one) => (one.getCurrentImageId?.() ?? '').includes(series));
  if (!shown) return null;
  const box = shown.canvas.getBoundingClientRect();
  return {x: box.x, y: box.y, width: box.width, height: box.height};
}"""
IS_DRAWN = """(series) => {
  const viewports = (window.cornerstone?.getRenderingEngines() ?? []).flatMap((engine) => engine.getViewports());
  const shown = viewports.find((one) => (one.getCurrentImageId?.() ?? '').includes(series));
  return shown?.viewportStatus === 'rendered' && Math.abs(shown.getZoom() - 1) < 0.01;
}"""
"""Whether the viewport that shows this series has been drawn, fitted to the size that it has."""

Pixels = npt.NDArray[np.int16]
PAINTED = 40
"""How much redder than green and blue a pixel of the overlay is; slices are grey, the viewer's own marks blue."""


@dataclass(kw_only=True)
class Viewer:
    """One study in a tab of its own: the page errors so far, and the series of slices that it shows first."""

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)
    series_instance_uid: str = ""

    @classmethod
    def open(cls, browser: Browser, address: str) -> Self:
        """Open a tab; nothing is shown yet."""
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(SEEN_TOURS)
        viewer = cls(page=page, address=address)
        page.on("pageerror", lambda error: viewer.faults.append(str(error)))
        return viewer

    def assert_well(self) -> None:
        """No page error, and none that the viewer caught and shows in place of a picture."""
        assert self.faults == []
        assert self.page.get_by_text("Something went wrong").count() == 0

    def show_study(self, study: ResultStudy, mode: str) -> Pixels:
        """Open a study in one of the viewer's modes; wait until its first slice is drawn, and give what is seen then.

        A series that is opened earlier inherits a zoom from a viewport that has none yet, and stays a dot for good.
        """
        self.page.goto(f"{self.address}/{mode}?StudyInstanceUIDs={study.study_instance_uid}", wait_until="commit")
        self._wait_for_first_slice(study.series_instance_uid)
        self.series_instance_uid = study.series_instance_uid
        return self.wait_for_picture(study.series_instance_uid, lambda _: True)

    def open_series(self, number: int, shows: Callable[[], bool]) -> None:
        """Double-click a series, by its number in the list, until it shows.

        Now and then a double-click is lost, or the viewer goes to an SR's slice without drawing its measurement, and
        takes no second double-click on what it thinks is open. Then the page is loaded anew, as a person would.
        """
        for _ in range(PATIENCE_MS // AGAIN_MS):
            self.page.get_by_text(re.compile(rf"S:\s*{number}$")).dblclick()
            if self._comes(shows, AGAIN_MS):
                return
            self.page.reload(wait_until="commit")
            self._wait_for_first_slice(self.series_instance_uid)
        raise TimeoutError(f"series {number} never showed; the page says: {self.page.inner_text('body')}")

    def has_text(self, text: str) -> bool:
        """Say whether the page shows a text."""
        return self.page.get_by_text(text).count() > 0

    def click(self, text: str) -> None:
        """Click on exactly this text."""
        self.page.get_by_text(text, exact=True).click()

    def picture_of(self, series_instance_uid: str) -> Pixels | None:
        """Give what the viewport of a series shows, (rows, columns, RGB); None where none shows it."""
        box = self.page.evaluate(BOX_OF, series_instance_uid)
        return None if box is None else _pixels(self.page.screenshot(clip=box))

    def wait_for_picture(self, series_instance_uid: str, shows: Callable[[Pixels], bool]) -> Pixels:
        """Wait until the viewport of a series shows something; give its pixels."""
        seen: list[Pixels] = []

        def is_seen() -> bool:
            pixels = self.picture_of(series_instance_uid)
            if pixels is None or not shows(pixels):
                return False
            seen.append(pixels)
            return True

        if not self._comes(is_seen, PATIENCE_MS):
            raise TimeoutError("the viewport never showed what it should")
        return seen[-1]

    def _wait_for_first_slice(self, series_instance_uid: str) -> None:
        self.page.get_by_text("AI ICH (RESEARCH) - NOT REVIEWED").first.wait_for()
        if not self._comes(lambda: bool(self.page.evaluate(IS_DRAWN, series_instance_uid)), PATIENCE_MS):
            raise TimeoutError("the first slice was never drawn")

    def _comes(self, shows: Callable[[], bool], patience_ms: int) -> bool:
        until_s = time.monotonic() + patience_ms / 1000
        while not shows():
            if time.monotonic() > until_s:
                return False
            self.page.wait_for_timeout(POLL_MS)
        return True

    def place_of(self, series_instance_uid: str, x: float, y: float) -> npt.NDArray[np.float64]:
        """Give the patient position of a pixel of a series' viewport, LPS in mm."""
        place: Any = self.page.evaluate(PLACE_OF, [series_instance_uid, x, y])
        return np.array(place, dtype=np.float64)

    def keep(self, path: Path) -> None:
        """Save what is to be seen, small."""
        picture = Image.open(BytesIO(self.page.screenshot())).convert("RGB")
        picture.quantize(96, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


def painted(pixels: Pixels) -> tuple[int, float, float]:
    """Count the pixels in the red of intraparenchymal haemorrhage, and give their centre as x and y."""
    rows, columns = np.nonzero(pixels[..., 0] - pixels[..., 1:].max(axis=-1) > PAINTED)
    return len(rows), float(columns.mean()) if len(rows) else 0.0, float(rows.mean()) if len(rows) else 0.0


def _pixels(png: bytes) -> Pixels:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"), dtype=np.int16)
