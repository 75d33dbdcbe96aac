"""Comma-separated tables that come with data sets, with the columns that a reader needs."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from models.training.data.case import BadDataSet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def read_table(path: Path, needed: Iterable[str]) -> list[dict[str, str]]:
    """Return the rows by column name, both trimmed; raise BadDataSet where the file or a needed column is missing."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [{name: (row.get(name) or "").strip() for name in columns} for row in reader]
    except OSError as error:
        raise BadDataSet(f"There is no readable {path.name} in {path.parent.name}.") from error
    lacking = [name for name in needed if name not in columns]
    if lacking:
        raise BadDataSet(f"{path.name} lacks the column {lacking[0]!r}; it has {', '.join(columns)}.")
    return rows


def is_yes(text: str) -> bool:
    """Whether a cell says yes: 1, 1.0, true."""
    return text.strip().lower() in {"1", "1.0", "true", "yes"}
