"""What was said in a name that the images no longer carry is withdrawn, in that name, before anything else is said.

The withdrawal is a result of its own: it supersedes the old one, tells the people who were called, and goes as an HL7
message to the old patient's record. To archives it goes only where the images have left the study: where the study
itself was corrected, an object in the old name would bring that name back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.analysis import Refusal
from worker.gate import judge
from worker.pipeline import read_one_study, refuse
from worker.reason import Reason
from worker.result import AnalysisResult

if TYPE_CHECKING:
    from ichor.catalogue.records import ResultRow
    from ichor.catalogue.registration import Retraction
    from ichor.settings import Settings
    from worker.analysis import Analysis, Run
    from worker.gate import GateRules

REGISTRATION_CORRECTED = Reason(
    code="registration_corrected",
    text="the images were registered again, to another patient or order, and the earlier result is withdrawn",
)


def withdraw(retraction: Retraction, rules: GateRules, run: Run) -> Analysis:
    """Write the withdrawal of a result, from the replaced versions of its images; NotAnalysable where they are gone."""
    study = read_one_study(retraction.paths)
    verdicts = judge(study, rules)
    by_uid = {series.series_instance_uid: series for series in study.series}
    analysed = AnalysisResult.from_json(retraction.result.summary_json).series_instance_uid
    series = by_uid.get(analysed or "") or by_uid[verdicts[0].series_instance_uid]
    refusal = Refusal(series=series, verdicts=verdicts, reasons=(REGISTRATION_CORRECTED,), timing_s={})
    return refuse(study, refusal, run)


def is_withdrawal(result: ResultRow) -> bool:
    """Whether a result says that an earlier one is withdrawn, because the images name somebody else."""
    reasons = AnalysisResult.from_json(result.summary_json).reasons
    return any(reason.code == REGISTRATION_CORRECTED.code for reason in reasons)


def accession_number_of(retraction: Retraction) -> str:
    """Give the accession number of the old name."""
    (series, *_) = read_one_study(retraction.paths).series
    return str(series.header.get("AccessionNumber") or "")


def settings_for(retraction: Retraction, settings: Settings) -> Settings:
    """Give the settings with those destinations that the withdrawal is for."""
    if retraction.study_is_empty:
        return settings
    hl7 = tuple(destination for destination in settings.destinations if destination.type == "hl7")
    return settings.model_copy(update={"destinations": hl7})
