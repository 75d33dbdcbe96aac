"""The conformance statement says what the code does."""

from __future__ import annotations

from pathlib import Path

from console.conformance import PAGE, WRITTEN, in_step
from listener.admission import STORED_CLASSES
from tests.worker.output.cases import read
from worker.output.context import WriteContext
from worker.output.naming import KINDS
from worker.output.profile import Profile, Variant
from worker.output.write import write_all

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_in_step_with_the_code() -> None:
    """Its tables are those of the code; `python -m console.conformance` brings them into step."""
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert in_step(page) == page


def test_what_is_written_is_what_is_declared(tilted: WriteContext, tmp_path: Path) -> None:
    """Every kind's SOP class, and that of the labelmap, stands in the statement; and a node takes its own back."""
    labelmap = Variant(profile=Profile(seg_encoding="labelmap"), kinds=frozenset({"seg"}))
    for one in write_all(tilted, tmp_path, (labelmap,)):
        assert read(one.path).SOPClassUID in WRITTEN[one.kind]
    assert set(WRITTEN) == set(KINDS)
    assert {uid for classes in WRITTEN.values() for uid in classes} <= set(STORED_CLASSES)
