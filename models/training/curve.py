"""The curve of a training, one JSON object a line: `step`, `loss`, `learning_rate`, and where it validated, the Dice.

Lines are appended as the training goes. Where it goes on from a checkpoint, lines beyond that are dropped first.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Curve:
    """A curve on disk, open for more."""

    def __init__(self, path: Path, *, after_step: int) -> None:
        kept = [one for one in read_curve(path) if one["step"] <= after_step]
        path.write_text("".join(json.dumps(one) + "\n" for one in kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def add(self, point: Mapping[str, Any]) -> None:
        """Append a point, at once."""
        self._file.write(json.dumps(dict(point)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Return the points; a line that was cut when the machine stopped is left out."""
    if not path.is_file():
        return []
    points = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            points.append(json.loads(line))
        except ValueError:
            break
    return points
