"""Where a worker was when a fault took its process: faulthandler's traceback in a file, for who tells of the failure.

A SIGKILL leaves an empty one. Names of files and functions are kept, and nothing of what they worked on.
"""

from __future__ import annotations

import contextlib
import faulthandler
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER = "last-words"
MOST_FRAMES = 8
SILENT_S = 3600.0
"""A process that was not heard of for so long is gone."""
WORDS_KEPT_S = 30 * 86400.0
"""Tracebacks are on the study's timeline by then."""
_FRAME = re.compile(r'^  File "([^"]+)", line (\d+) in (\S+)$', re.MULTILINE)
_FATAL = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)


@contextlib.contextmanager
def kept(data_dir: Path, worker: str) -> Iterator[None]:
    """While the block runs, let a fault of this process leave its traceback under the worker's name."""
    path = _path(data_dir, worker)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        faulthandler.enable(file, all_threads=False)
        try:
            yield
        finally:
            faulthandler.disable()
    path.unlink(missing_ok=True)


def of(data_dir: Path, worker: str) -> str:
    """Return what a worker that is gone left: the fault and its innermost frames; empty where nothing is known."""
    try:
        text = _path(data_dir, worker).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    fatal = _FATAL.search(text)
    if fatal is None:
        return ""
    frames = [f"{Path(name).name}:{line} {function}" for name, line, function in _FRAME.findall(text)[:MOST_FRAMES]]
    return f"{fatal.group(1)} at {' < '.join(frames)}"


def sweep(data_dir: Path, living: Iterable[str], *, now_s: float) -> int:
    """Remove what workers left that are gone: empty files, and words that nobody needs any more; return how many.

    `living` names the processes (host and process id) that were heard of within `SILENT_S`; `now_s` is the clock of
    files, seconds since 1970.
    """
    folder = data_dir / FOLDER
    of_living = tuple(f"{_file_name(process)}_" for process in living)
    removed = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = path.stat()
        age_s = now_s - found.st_mtime
        if not path.name.startswith(of_living) and age_s > (WORDS_KEPT_S if found.st_size else SILENT_S):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _path(data_dir: Path, worker: str) -> Path:
    return data_dir / FOLDER / f"{_file_name(worker)}.txt"


def _file_name(worker: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", worker)
