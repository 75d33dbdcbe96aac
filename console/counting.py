"""How many slices a series has, asked of the archives that the settings name for it (`sources.counts`).

The timers of `[completeness]` hold whatever an archive says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.archives import archive_of
from ichor.catalogue import settling
from ichor.watch import Watch

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings

QUIET_S = 2.0
"""A series is asked for once nothing has come for this long: an archive that is itself still receiving lags behind."""
TIMEOUT_S = 5.0


class CountWatch(Watch):
    """Asks while it is open, where a source is to be asked."""

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        super().__init__("counts", asks=any(source.counts for source in settings.sources))
        self._catalogue = catalogue
        self._archives = [
            archive_of(source, settings, timeout_s=min(source.timeout_s, TIMEOUT_S))
            for source in settings.sources
            if source.counts
        ]

    def tick(self, *, quiet_s: float = QUIET_S) -> int:
        """Ask for every series that still receives; return how many counts are new.

        Raises:
            PeerError: no archive answered for a series.
            CatalogueUnreachable: the catalogue does not answer.
        """
        with self._catalogue.read() as session:
            waiting = settling.uncounted(session, quiet_s=quiet_s)
        noted = 0
        for study_instance_uid, series_instance_uid in waiting:
            counts = [one.series_instances(study_instance_uid, series_instance_uid) for one in self._archives]
            known = [count for count in counts if count is not None]
            if known:
                with self._catalogue.write() as session:
                    noted += settling.note_count(session, study_instance_uid, series_instance_uid, max(known))
        return noted
