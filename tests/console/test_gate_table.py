"""`ichor gate` over a table of studies: the same verdicts in whatever order their files come."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pydicom
import pytest

from console.cli.entry import run
from tests.console.gate_cases import CASES, Case


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the command out of the home directory of the person who runs the tests."""
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))


def verdicts(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]]]:
    """Run the command; give its exit code and what it says of each series."""
    code = run(["gate", str(folder), "--json"])
    (study,) = json.loads(capsys.readouterr().out)
    assert isinstance(study["series"], list)
    return code, study["series"]


def codes(said: dict[str, Any], key: str) -> set[str]:
    return {reason["code"] for reason in said[key]}


def test_the_table_is_long_enough() -> None:
    """At least forty studies, each under its own name."""
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_study_in_every_order(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The chosen series, each reason and each warning are as the table says; in order, reversed and shuffled."""
    names = {str(one.scan().dataset(0).SeriesInstanceUID): one.name for one in case.series}
    written = case.write(tmp_path / "written")
    answers: list[tuple[int, list[dict[str, Any]]]] = []
    for order in (written, written[::-1], random.Random(len(written)).sample(written, len(written))):
        folder = tmp_path / f"order-{len(answers)}"
        folder.mkdir()
        for number, path in enumerate(order):
            (folder / f"{number:04}.dcm").hardlink_to(path)
        answers.append(verdicts(folder, capsys))
    code, series = answers[0]
    assert code == (0 if case.chosen else 3)
    assert tuple(names[said["series_instance_uid"]] for said in series if said["chosen"]) == case.chosen
    said_of = {names[said["series_instance_uid"]]: said for said in series}
    assert {name: codes(said, "reasons") for name, said in said_of.items()} == case.reasons
    for name, warned in case.warnings.items():
        assert codes(said_of[name], "warnings") == warned
    assert answers[1:] == answers[:1] * 2


@pytest.mark.parametrize("order", [1, -1])
def test_the_real_studies(test_data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], order: int) -> None:
    """GE's tilted head is chosen; of Philips' study nothing is: an empty skull, localizers and captures."""
    paths = sorted(path for path in test_data_dir.rglob("*") if path.is_file())
    studies: dict[str, list[dict[str, Any]]] = {}
    for number, path in enumerate(paths[::order]):
        (tmp_path / f"{number:04}").symlink_to(path)
    assert run(["gate", str(tmp_path), "--json"]) == 0
    for study in json.loads(capsys.readouterr().out):
        if study["series"]:
            studies[study["study_instance_uid"]] = study["series"]
    ge_uid = str(pydicom.dcmread(next((test_data_dir / "ge-hispeed-tilt").glob("*.dcm"))).StudyInstanceUID)
    (head,) = studies.pop(ge_uid)
    assert (head["chosen"], codes(head, "reasons"), codes(head, "warnings")) == (True, set(), {"age_unknown"})
    (philips,) = studies.values()
    assert not any(said["chosen"] or said["accepted"] for said in philips)
    reasons = {said["series_number"]: codes(said, "reasons") for said in philips}
    assert reasons[201] == {"no_brain"}
    assert "localizer" in reasons[100]
    assert {"not_ct_image", "derived"} <= reasons[401]
