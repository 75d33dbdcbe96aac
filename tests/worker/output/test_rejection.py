"""A result that replaces another says so, in its reports and, for archives that follow IHE IOCM, in a note."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.peers.programs import require
from tests.worker.output.cases import read
from worker.output.context import WriteContext
from worker.output.predecessor import Predecessor
from worker.output.profile import Profile, Variant
from worker.output.write import WrittenObject, write_all
from worker.result import Replaced

LABELMAP = Variant(profile=Profile(seg_encoding="labelmap"), kinds=frozenset({"seg", "rejection"}))


def replacing(ctx: WriteContext, written: tuple[WrittenObject, ...]) -> WriteContext:
    """Turn a result into one that replaces an earlier one of the same study."""
    previous = Replaced(written_at=ctx.written_at, slices=9, total_haemorrhage_ml=15.2)
    return replace(
        ctx,
        identity=replace(ctx.identity, generation=1),
        result=replace(ctx.result, replaces=previous),
        predecessors=(
            Predecessor(
                identity_digest=ctx.identity.digest,
                sop_classes={one.sop_instance_uid: one.sop_class_uid for one in written},
            ),
        ),
    )


def _references(dataset: Dataset, keyword: str) -> set[str]:
    return {
        str(item.ReferencedSOPInstanceUID)
        for study in dataset[keyword].value
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


@pytest.fixture
def first(straight: WriteContext, tmp_path: Path) -> tuple[WrittenObject, ...]:
    """What was written before, in two variants."""
    return write_all(straight, tmp_path / "first", (LABELMAP,))


def test_reports_name_their_predecessor(
    straight: WriteContext, first: tuple[WrittenObject, ...], tmp_path: Path
) -> None:
    """Each report refers to the same report of the result that it replaces; the first one to none."""
    write_all(replacing(straight, first), tmp_path / "second")
    for kind in ("sr", "sr-record"):
        (before,) = [one for one in first if one.kind == kind]
        (study,) = read(tmp_path / "second" / f"{kind}.dcm").PredecessorDocumentsSequence
        (series,) = study.ReferencedSeriesSequence
        assert study.StudyInstanceUID == straight.result.study_instance_uid
        assert series.SeriesInstanceUID == read(before.path).SeriesInstanceUID
        assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.sop_instance_uid
        assert "PredecessorDocumentsSequence" not in read(before.path)


def test_a_note_rejects_what_was_replaced(
    straight: WriteContext, first: tuple[WrittenObject, ...], tmp_path: Path
) -> None:
    """TID 2010 under (113001, DCM): what was replaced in this variant, and what replaces it."""
    assert not [one for one in first if one.kind == "rejection"]
    second = write_all(replacing(straight, first), tmp_path / "second", (LABELMAP,))
    default, variant = (read(one.path) for one in second if one.kind == "rejection")
    assert default.Modality == "KO"
    assert default.ConceptNameCodeSequence[0].CodeValue == "113001"
    assert _references(default, "CurrentRequestedProcedureEvidenceSequence") == {
        one.sop_instance_uid for one in first if not one.variant
    }
    assert _references(variant, "CurrentRequestedProcedureEvidenceSequence") == {
        one.sop_instance_uid for one in first if one.variant
    }
    named = {item.ConceptNameCodeSequence[0].CodeValue: item for item in default.ContentSequence}
    assert named["113012"].TextValue.startswith("REPLACES result of ")


def test_what_is_no_longer_analysed_is_rejected_too(
    straight: WriteContext, refused: WriteContext, first: tuple[WrittenObject, ...], tmp_path: Path
) -> None:
    """A refusal that replaces a finding takes the finding's objects back."""
    later = replacing(straight, first)
    refusing = replace(
        refused,
        identity=later.identity,
        predecessors=later.predecessors,
        result=replace(refused.result, replaces=later.result.replaces),
    )
    written = write_all(refusing, tmp_path / "second")
    assert [one.kind for one in written] == ["summary", "rejection"]


@pytest.mark.integration
def test_other_readers_take_the_note(straight: WriteContext, first: tuple[WrittenObject, ...], tmp_path: Path) -> None:
    """No error by dciodvfy, and dcmtk reads its tree."""
    write_all(replacing(straight, first), tmp_path / "second")
    path = tmp_path / "second" / "rejection.dcm"
    checked = subprocess.run([require("dciodvfy"), path], capture_output=True, text=True, check=False)
    assert not [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")]
    read_back = subprocess.run([require("dsrdump"), path], capture_output=True, text=True, check=False)
    assert read_back.returncode == 0
    assert "Rejected for Quality Reasons" in read_back.stdout
