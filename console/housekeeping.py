"""Making room: the files of studies that are done with, and of the quarantine, within the limits of the settings.

A study's folders are first renamed into `data_dir/trash`, then forgotten by the catalogue, then deleted: killed at any
moment, the next round finds what is left and goes on. Nothing is deleted that the catalogue does not say is done with.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import beats, retention
from ichor.store import checked_uid, make_folder, sync_folder
from listener.intake import BYTES_PER_GB
from worker import last_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.retention import Removable, Why
    from ichor.settings import Settings

log = structlog.get_logger(__name__)


SECONDS_PER_DAY = 86400.0
STILL_READ_DAYS = 0.25
"""However full the disk is: the patients of the last six hours are in the house, and their pictures looked at."""
BATCH = 20
"""Studies in one round: the reconciler has other things to do."""


class Housekeeping:
    """Rounds on one data directory."""

    def __init__(
        self, catalogue: Catalogue, settings: Settings, *, free_bytes: Callable[[], int], now_s: float
    ) -> None:
        """`free_bytes` tells of the disk of the data directory; `now_s` is the clock of files (seconds since 1970)."""
        self._catalogue = catalogue
        self._settings = settings
        self._free_bytes = free_bytes
        self._now_s = now_s
        self._trash = settings.data_dir / "trash"

    def round(self) -> int:
        """Remove what may go; return how many studies went. Raises CatalogueUnreachable."""
        self._empty_trash()
        self._bound_quarantine()
        self._sweep_last_words()
        days = self._settings.retention
        removed = 0
        for why, unchanged_for_days in (
            ("not_analysed", days.not_analysed_days),
            ("failed", days.failed_days),
            ("confirmed", days.confirmed_days),
        ):
            removed += self._remove(why, unchanged_for_days)  # type: ignore[arg-type]  # words of `Why`
        while self._is_low():
            # What is proven to have arrived need not wait for its day where the room is needed.
            made_room = self._remove("confirmed", STILL_READ_DAYS, limit=1)
            if not made_room:
                log.warning("disk_low_nothing_removable")
                break
            removed += made_room
        return removed

    def _is_low(self) -> bool:
        return self._free_bytes() < self._settings.disk.low_free_gb * BYTES_PER_GB

    def _remove(self, why: Why, unchanged_for_days: float, *, limit: int = BATCH) -> int:
        with self._catalogue.read() as session:
            found = retention.removable(session, why, unchanged_for_days=unchanged_for_days, limit=limit)
        removed = 0
        for study in found:
            for folder in self._folders_of(study):
                self._throw_away(folder)
            with self._catalogue.write() as session:
                removed += retention.forget(session, study, why)
        if removed:
            log.info("files_removed", why=why, studies=removed)
            self._empty_trash()
        return removed

    def _folders_of(self, study: Removable) -> Iterator[Path]:
        yield self._settings.spool_dir / checked_uid(study.study_instance_uid)
        for directory in study.result_directories:
            if directory.parent == self._settings.results_dir:
                yield directory

    def _throw_away(self, folder: Path) -> None:
        if not folder.is_dir():
            return
        make_folder(self._trash)
        folder.rename(self._trash / f"{folder.name}.{os.urandom(4).hex()}")
        sync_folder(folder.parent)

    def _empty_trash(self) -> None:
        for folder in self._trash.iterdir() if self._trash.is_dir() else ():
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep_last_words(self) -> None:
        with self._catalogue.read() as session:
            living = [beat.name for beat in beats.live(session, last_words.SILENT_S)]
        removed = last_words.sweep(self._settings.data_dir, living, now_s=self._now_s)
        if removed:
            log.info("last_words_swept", files=removed)

    def _bound_quarantine(self) -> None:
        """Keep what was put aside within its age and size, the latest for longest."""
        folder = self._settings.quarantine_dir
        paths = list(folder.iterdir()) if folder.is_dir() else []
        found = sorted(((path.stat().st_mtime, path.stat().st_size, path) for path in paths), reverse=True)
        kept_bytes, removed = 0, 0
        limits = self._settings.retention
        for changed_s, size_bytes, path in found:
            kept_bytes += size_bytes
            too_old = self._now_s - changed_s > limits.quarantine_days * SECONDS_PER_DAY
            if too_old or kept_bytes > limits.quarantine_gb * BYTES_PER_GB:
                path.unlink(missing_ok=True)
                removed += 1
        if removed:
            log.info("quarantine_bounded", files=removed)
