"""What the worklist says of a study: never less than was known before."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.listing import summary_of
from ichor.catalogue import intake, views
from ichor.catalogue.engine import Catalogue
from ichor.settings import Settings
from tests.console.catalogue_of_outcomes import fill, study_uid


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("suspected", "result so far: SUSPECTED 15.2 mL"),
        ("none_marked", "result so far: no region marked"),
        ("not_analysed", "result so far: not analysed"),
        ("receiving", "no result yet"),
    ],
)
def test_a_new_look_does_not_hide_the_result_so_far(settings: Settings, tmp_path: Path, name: str, note: str) -> None:
    """Late slices or a retry put a study back into work; a suspicion stays in sight meanwhile."""
    settings.data_dir.mkdir()
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    fill(catalogue, tmp_path / "files")
    with catalogue.write() as session:
        intake.mark_study(session, study_uid(name), "running")
    with catalogue.read() as session:
        summary = summary_of(views.study_detail(session, study_uid(name)).study, settings)
    catalogue.close()
    assert (summary.badge, summary.note) == ("Analysis running", note)
