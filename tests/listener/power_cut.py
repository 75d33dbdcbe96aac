"""What a power cut would have left of a data directory, worked out from a trace of a process's system calls.

The model is that of a journaling file system at its least kind: bytes survive only if fdatasync(2) or fsync(2) of their
file came after them; changes of names survive in their order, and any number of those since the last sync of anything
may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM_CALLS = "openat,write,pwrite64,fdatasync,fsync,rename,mkdir,unlink,rmdir,sendto,sendmsg"
_LINE = re.compile(r"^(\d+)\s+(.*)$")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\)\s+=\s+(\S+)")
_OF = re.compile(r"^\d+<([^>]*)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ANSWER = re.compile(r'"\\4\\0')  # PS3.8 9.3.5: a P-DATA-TF PDU; the listener sends none but its responses


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One system call that succeeded."""

    name: str
    arguments: str
    result: str


@dataclass(slots=True)
class Names:
    """Which file, by number, lies under which path."""

    files: dict[str, int] = field(default_factory=dict)

    def apply(self, change: tuple[str, ...]) -> None:
        """Make one change of names."""
        if change[0] == "create":
            self.files[change[1]] = int(change[2])
        elif change[0] == "rename" and change[1] in self.files:
            self.files[change[2]] = self.files.pop(change[1])
        elif change[0] == "unlink":
            self.files.pop(change[1], None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The disk at the moment of one response: the least and the most that a power cut would leave."""

    least: dict[str, int]
    most: dict[str, int]
    synced: frozenset[int]


def moments(trace: str, data_dir: Path) -> tuple[list[Moment], dict[str, int]]:
    """Return the disk at each C-STORE response of a trace, and the names at its end."""
    live, names_by_change = Names(), list[tuple[str, ...]]()
    synced: set[int] = set()
    at_last_sync, count = 0, 0
    found: list[Moment] = []
    for call in _calls(trace):
        if call.name in {"sendto", "sendmsg"} and _ANSWER.search(call.arguments):
            least = Names()
            for earlier in names_by_change[:at_last_sync]:
                least.apply(earlier)
            found.append(Moment(least=least.files, most=dict(live.files), synced=frozenset(synced)))
            continue
        change = _change(call, data_dir, live, count)
        if change is not None:
            count += change[0] == "create"
            names_by_change.append(change)
            live.apply(change)
            continue
        path = _OF.match(call.arguments)
        number = live.files.get(path.group(1)) if path is not None else None
        if call.name in {"fdatasync", "fsync"}:
            at_last_sync = len(names_by_change)
            if number is not None:
                synced.add(number)
        elif call.name in {"write", "pwrite64"} and number is not None:
            synced.discard(number)
    return found, live.files


def _change(call: Call, data_dir: Path, live: Names, number: int) -> tuple[str, ...] | None:
    quoted = [path for path in _QUOTED.findall(call.arguments) if path.startswith(str(data_dir))]
    if call.name == "openat" and quoted and "O_CREAT" in call.arguments and quoted[0] not in live.files:
        return ("create", quoted[0], str(number))
    if call.name == "rename" and len(quoted) == 2:
        return ("rename", *quoted)
    if call.name == "unlink" and quoted:
        return ("unlink", quoted[0])
    return None


def _calls(trace: str) -> Iterator[Call]:
    """Yield what succeeded, in the order in which it ended; calls of several threads are put together again."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, text = match.groups()
        if text.endswith(_UNFINISHED):
            begun[thread] = text.removesuffix(_UNFINISHED)
            continue
        resumed = _RESUMED.match(text)
        if resumed is not None:
            text = begun.pop(thread, "") + resumed.group(1)
        call = _CALL.match(text)
        if call is not None and not call.group(3).startswith("-"):
            yield Call(name=call.group(1), arguments=call.group(2), result=call.group(3))
