"""Files: whole or not there, and never outside the store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ichor.errors import BadUid, StoreFull
from ichor.store import PARTIAL_PREFIX, Store, write_durably


def test_a_written_file_is_whole_and_for_the_owner_alone(tmp_path: Path) -> None:
    """Chunks come together; file and folders are closed to others."""
    path = tmp_path / "a" / "b" / "file"
    write_durably(path, [b"one", memoryview(b"two"), b""])
    assert path.read_bytes() == b"onetwo"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """Who reads while it is replaced reads the old or the new content."""
    path = tmp_path / "file"
    write_durably(path, [b"old"])
    with path.open("rb") as reader:
        write_durably(path, [b"new"])
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_a_source_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    """A sender that goes away in the middle leaves neither file nor remains."""

    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        write_durably(tmp_path / "file", chunks())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told_from_other_troubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC, here of the kernel's own full device, becomes StoreFull."""
    real_open = os.open

    def open_full(path: Path, flags: int, mode: int = 0o777) -> int:
        return real_open("/dev/full", os.O_WRONLY) if flags & os.O_CREAT else real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", open_full)
    with pytest.raises(StoreFull):
        write_durably(tmp_path / "file", [b"x"])


def test_killed_while_writing_leaves_only_what_the_sweep_removes(tmp_path: Path) -> None:
    """After SIGKILL in the middle of a write nothing stands under the name; the sweep finds the rest."""
    store = Store(tmp_path)
    path = store.spool_path("1.2", "1.3", "1.4")
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom ichor.store import write_durably\n"
        "def chunks():\n    yield b'half'\n    os.kill(os.getpid(), signal.SIGKILL)\n    yield b'rest'\n"
        "write_durably(Path(sys.argv[1]), chunks())\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert ended.returncode == -9
    assert not path.exists()
    assert [entry.name.startswith(PARTIAL_PREFIX) for entry in path.parent.iterdir()] == [True]
    assert store.sweep_partial() == 1
    assert store.sweep_partial() == 0


@pytest.mark.integration
def test_data_and_name_are_synced_before_return(tmp_path: Path) -> None:
    """Seen from outside: write, fdatasync, rename, fsync of the folder, in this order."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not on PATH")
    log = tmp_path / "trace"
    script = (
        "import sys; from pathlib import Path; from ichor.store import write_durably; "
        "write_durably(Path(sys.argv[1]), [b'x' * 10])"
    )
    calls = "write,fdatasync,rename,fsync"
    command = [strace, "-f", "-y", "-e", f"trace={calls}", "-o", str(log), sys.executable, "-c", script]
    subprocess.run([*command, str(tmp_path / "file")], check=True)
    seen = [line.split(None, 1)[1].split("(")[0] for line in log.read_text().splitlines() if str(tmp_path) in line]
    assert seen == ["write", "fdatasync", "rename", "fsync"]


@pytest.mark.parametrize("uid", ["", "../1", "1/2", "1..2", ".1", "1.", "abc", "1.2\n", "1." + "2" * 63, "1.2\0"])
def test_only_uids_become_paths(tmp_path: Path, uid: str) -> None:
    """What a sender calls a UID cannot point outside the store."""
    store = Store(tmp_path)
    for uids in ((uid, "1", "1"), ("1", uid, "1"), ("1", "1", uid)):
        with pytest.raises(BadUid):
            store.spool_path(*uids)
    with pytest.raises(BadUid):
        store.results_path(uid, "seg.dcm")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\0b", "x" * 129])
def test_only_plain_names_become_paths(tmp_path: Path, name: str) -> None:
    """The same for names of files."""
    with pytest.raises(BadUid):
        Store(tmp_path).results_path("1.2", name)
    with pytest.raises(BadUid):
        Store(tmp_path).quarantine_path(name)


def test_paths_of_uids_that_differ_differ(tmp_path: Path) -> None:
    """The same SOP Instance UID in two studies lies in two places; leading zeros, which the field has, pass."""
    store = Store(tmp_path)
    assert store.spool_path("1.2", "1.3", "1.4") == tmp_path / "spool" / "1.2" / "1.3" / "1.4.dcm"
    assert store.spool_path("1.5", "1.3", "1.4") != store.spool_path("1.2", "1.3", "1.4")
    assert store.spool_path("1.02", "1.3", "1.4").parent.parent.name == "1.02"
    assert store.results_path("2.25.7", "seg.dcm") == tmp_path / "results" / "2.25.7" / "seg.dcm"


def test_free_space_is_known_before_the_folder_exists(tmp_path: Path) -> None:
    """A node that never ran can still be told that its disk is full."""
    assert Store(tmp_path / "not" / "yet").free_bytes() > 0
