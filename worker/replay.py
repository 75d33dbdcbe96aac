"""A stored result made once more from the spool, in a folder of its own, and held against what is stored.

Nothing is recorded, nobody is told, nothing is sent. The time and the result that it replaced stand in the objects, so
they are taken from the stored result; the time that the steps took is the only thing that may differ.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from ichor.catalogue import inputs, views
from ichor.errors import PermanentError, RowNotFound
from worker.conclusion import identity_of, refusal_identity
from worker.output.predecessor import predecessors_of
from worker.output.write import RESULT_NAME
from worker.pipeline import Refusal, Run, examine, finish, read_one_study
from worker.priors import priors_of
from worker.result import AnalysisResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import ResultRow, StudyDetail
    from ichor.identity import ResultIdentity
    from models.segmenter import Segmenter
    from worker.analysis import Recipe
    from worker.output.profile import Variant
    from worker.pipeline import Candidate
    from worker.result import ResultModel
    from worker.series import Study

TIMES = "timing_s"


class NotReplayable(PermanentError):
    """The stored result cannot be made again."""

    code = "not_replayable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedObject:
    """One object, stored and made again."""

    kind: str
    sop_instance_uid: str
    identical: bool
    stored_sha256: str
    """Of the file as it lies there now; empty where it is missing."""
    replayed_sha256: str
    """Empty where the replay made no such object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """How the replay compares."""

    study_instance_uid: str
    result_uid: str
    objects: tuple[ReplayedObject, ...]
    differing_keys: tuple[str, ...]
    """Of `result.json`, without the time that the steps took."""
    out: Path

    @property
    def identical(self) -> bool:
        """Whether every object is the same, bit for bit, and `result.json` says the same."""
        return not self.differing_keys and all(item.identical for item in self.objects)


def replay(
    catalogue: Catalogue,
    study_instance_uid: str,
    recipe_for: Callable[[ResultModel | None], Recipe],
    out: Path,
    *,
    variants: tuple[Variant, ...] = (),
    on_progress: Callable[[float], None] | None = None,
) -> Replay:
    """Make the study's main result again, with the model that it names.

    `variants` are what the settings ask for now; what they asked for then, and no longer do, is not made again.

    Raises:
        StudyNotFound, RowNotFound: there is no such study, or no result of it.
        NotReplayable: the analysis failed, or the input, the model or this version of Ichor is another one.
    """
    with catalogue.read() as session:
        detail = views.study_detail(session, study_instance_uid)
        paths = [row.path for row in inputs.study_input(session, study_instance_uid).instances]
    stored = _standing(detail)
    said = AnalysisResult.from_json(stored.summary_json)
    if said.status == "failed":
        raise NotReplayable("The analysis failed: there is nothing that could be made again.")
    recipe = recipe_for(said.model)
    study = read_one_study(paths)
    found, generation = _found(stored, study, recipe, most=len(detail.results))
    replaced = _replaced(detail, stored)
    run = Run(
        out=lambda _: out,
        now=said.written_at,
        generation=generation,
        on_progress=on_progress,
        previous=AnalysisResult.from_json(replaced[-1].summary_json) if replaced else None,
        priors=_priors(catalogue, found, said),
        predecessors=predecessors_of(replaced),
        variants=variants,
    )
    finish(study, found, recipe, run)
    return Replay(
        study_instance_uid=study_instance_uid,
        result_uid=stored.result_uid,
        objects=_compared(stored, out),
        differing_keys=_differing(stored.summary_json, (out / RESULT_NAME).read_text(encoding="utf-8")),
        out=out,
    )


def _standing(detail: StudyDetail) -> ResultRow:
    main = [row for row in detail.results if row.id == detail.study.result_id and not row.provisional]
    if not main:
        raise RowNotFound("The study has no result yet.")
    return main[0]


def _found(stored: ResultRow, study: Study, recipe: Recipe, *, most: int) -> tuple[Candidate | Refusal, int]:
    """Find of which acquisition it speaks, and which try of the same input it was; a forced retry counts on."""
    refusals_too = examine(study, recipe.rules, speaks_again=lambda _: True)
    for found in chain(examine(study, recipe.rules), refusals_too):
        for generation in range(most + 1):
            if _identity(study, found, recipe.segmenter_for, generation).digest == stored.identity_digest:
                return found, generation
    raise NotReplayable(
        "What lies in the spool now would give another result: slices, patient data, model or version have changed."
    )


def _identity(
    study: Study, found: Candidate | Refusal, segmenter_for: Callable[[], Segmenter], generation: int
) -> ResultIdentity:
    if isinstance(found, Refusal):
        return refusal_identity(study, found, "not_analysed", generation)
    return identity_of(found.series, segmenter_for(), generation)


def _replaced(detail: StudyDetail, stored: ResultRow) -> tuple[ResultRow, ...]:
    """Give what it took the place of when it was made; what it was taken up again for came later."""
    return tuple(
        row
        for row in detail.results
        if row.superseded_by_id == stored.id and row.id < stored.id and not row.provisional
    )


def _priors(catalogue: Catalogue, found: Candidate | Refusal, said: AnalysisResult) -> tuple[AnalysisResult, ...]:
    """Give the earlier result that it was compared with."""
    if said.change is None or found.acquisition is None:
        return ()
    with catalogue.read() as session:
        priors = priors_of(session, found.series.header, found.acquisition.span)
    return tuple(prior for prior in priors if prior.scanned_at == said.change.prior_scanned_at)


def _compared(stored: ResultRow, out: Path) -> tuple[ReplayedObject, ...]:
    pairs = []
    for item in stored.objects:
        before, after = _sha256(item.path), _sha256(out / item.path.name)
        pairs.append(
            ReplayedObject(
                kind=item.kind,
                sop_instance_uid=item.sop_instance_uid,
                identical=before == after == item.sha256,
                stored_sha256=before,
                replayed_sha256=after,
            )
        )
    return tuple(pairs)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _differing(stored: str, replayed: str) -> tuple[str, ...]:
    before, after = json.loads(stored), json.loads(replayed)
    keys = sorted((before.keys() | after.keys()) - {TIMES})
    return tuple(key for key in keys if before.get(key) != after.get(key))
