"""The tables of docs/conformance.md, out of the code's own: `python -m console.conformance` brings the page into step.

Each table stands between two comments that name it; everything else on the page is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pydicom.uid import (
    UID,
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from ichor.sections import DicomSettings
from listener.admission import (
    ACCEPTED_TRANSFER_SYNTAXES,
    COMPANION_CLASSES,
    CT_IMAGE_CLASSES,
    VERIFICATION_CLASS,
    class_name,
)
from worker.output import attributes, codes
from worker.output.naming import KINDS, SERIES_ORDER, Kind
from worker.output.profile import Profile

PAGE = Path("docs") / "conformance.md"
LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
WRITTEN: dict[Kind, tuple[str, ...]] = {
    "seg": (SegmentationStorage, LABEL_MAP_STORAGE),
    "sr": (ComprehensiveSRStorage,),
    "sr-record": (ComprehensiveSRStorage,),
    "summary": (SecondaryCaptureImageStorage,),
    "rejection": (KeyObjectSelectionDocumentStorage,),
}
"""SOP classes by kind of object; the second of a kind only where a destination asks for it."""


def tables() -> dict[str, str]:
    """Give every generated table by its name."""
    return {
        "created": _created(),
        "stored": _table(("SOP class", "UID", "use"), _stored()),
        "transfer-syntaxes": _table(("transfer syntax", "UID"), [(UID(one).name, one) for one in _syntaxes()]),
        "defaults": _table(("setting", "default"), _defaults()),
        "copied": _copied(),
        "private-codes": _table(("code", "meaning"), _private_codes()),
    }


def in_step(page: str) -> str:
    """Return the page with every table as the code has it now."""
    for name, table in tables().items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = page.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"docs/conformance.md has no place for the table {name}.")
        page = f"{before}{start}{table}\n{end}{after}"
    return page


def main() -> int:
    """Write the page anew."""
    PAGE.write_text(in_step(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def _created() -> str:
    first = Profile().series_number
    rows = []
    for kind in KINDS:
        number = str(first + SERIES_ORDER.index(kind))
        for sop_class_uid in WRITTEN[kind]:
            syntax = RLELossless if sop_class_uid == LABEL_MAP_STORAGE else ExplicitVRLittleEndian
            rows.append((f"`{kind}`", class_name(sop_class_uid), sop_class_uid, syntax.name, number))
    return _table(("kind", "SOP class", "UID", "transfer syntax", "series number"), rows)


def _stored() -> list[tuple[str, str, str]]:
    rows = [(UID(VERIFICATION_CLASS).name, VERIFICATION_CLASS, "answered")]
    rows += [(name, uid, "stored and analysed") for uid, name in CT_IMAGE_CLASSES.items()]
    return rows + [(name, uid, "stored") for uid, name in COMPANION_CLASSES.items()]


def _syntaxes() -> list[str]:
    return [str(one) for one in ACCEPTED_TRANSFER_SYNTAXES]


def _defaults() -> list[tuple[str, str]]:
    return [
        (f"`dicom.{name}`", f"`{field.default}`")
        for name, field in DicomSettings.model_fields.items()
        if isinstance(field.default, str | int | float | bool)
    ]


def _copied() -> str:
    groups = (("Patient, Clinical Trial Subject", attributes.PATIENT), ("Study", attributes.STUDY))
    rows = [("type 2, empty where the source has none", ", ".join(attributes.TYPE_2))]
    rows += [(name, ", ".join(keywords)) for name, keywords in groups]
    return _table(("module", "attributes"), rows)


def _private_codes() -> list[tuple[str, str]]:
    concepts = [getattr(codes, name) for name in dir(codes) if name.isupper()]
    return sorted(
        (f"`{one.value}`", str(one.meaning))
        for one in concepts
        if getattr(one, "scheme_designator", None) == codes.PRIVATE_SCHEME
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
