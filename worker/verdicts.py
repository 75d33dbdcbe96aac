"""From what was found in a study to a verdict on each of its series: analysed, or why not, as code and sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ichor.catalogue.records import SeriesVerdict
from worker.analysis import Candidate

if TYPE_CHECKING:
    from worker.analysis import Refusal
    from worker.reason import Reason
    from worker.second_look import Look

PREFERRED = ("another_preferred", "another series was preferred")


class Verdicts:
    """Gathers what is said of each series while acquisitions are found one after the other; holds no volume."""

    def __init__(self) -> None:
        self._reasons: dict[str, tuple[tuple[str, str], ...]] = {}
        self._analysed: set[str] = set()

    def note(self, found: Candidate | Refusal) -> None:
        """Take in what was found, and what the headers say."""
        for verdict in found.verdicts:
            self._reasons.setdefault(verdict.series_instance_uid, _plain(verdict.reasons))
        if isinstance(found, Candidate):
            self._analysed.add(found.series.series_instance_uid)

    def turn_down(self, look: Look) -> None:
        """Take in why a series is not fit, by its voxels."""
        self._reasons[look.series.series_instance_uid] = _plain(look.reasons)

    def of_series(self) -> tuple[SeriesVerdict, ...]:
        """Give the verdict on every series; one that is fit and was not analysed was not preferred."""
        return tuple(
            SeriesVerdict(
                series_instance_uid=uid,
                analysed=uid in self._analysed,
                reasons=() if uid in self._analysed else reasons or (PREFERRED,),
            )
            for uid, reasons in self._reasons.items()
        )


def _plain(reasons: tuple[Reason, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((reason.code, reason.text) for reason in reasons)
