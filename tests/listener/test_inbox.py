from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from listener.inbox import MOST_UNHASHED_BYTES, InboxFile
from listener.part10 import FILE_START_BYTES
from listener.writeback import begin_writeback

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("size_bytes", [0, 1, 524_288, MOST_UNHASHED_BYTES, 3 * MOST_UNHASHED_BYTES + 17])
def test_digest_is_of_what_lies_in_the_file(tmp_path: Path, size_bytes: int) -> None:
    """However large a data set is, and in whatever pieces it comes, its digest is that of the bytes kept."""
    content = os.urandom(size_bytes)
    incoming = InboxFile(tmp_path / "incoming")
    for start in range(0, size_bytes, 700_001):
        incoming.write(memoryview(content)[start : start + 700_001])
    digest = incoming.sha256()
    incoming.keep(b"start".ljust(FILE_START_BYTES), tmp_path / "kept")
    assert digest == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "kept").read_bytes()[FILE_START_BYTES:] == content


def test_digest_may_be_asked_for_between_fragments(tmp_path: Path) -> None:
    """What was hashed once is not hashed again."""
    incoming = InboxFile(tmp_path / "incoming")
    for so_far in (b"a", b"ab", b"abc"):
        incoming.write(so_far[-1:])
        assert incoming.sha256() == hashlib.sha256(so_far).hexdigest()
    incoming.discard()


def test_writeback_that_cannot_begin_is_left_to_the_sync() -> None:
    """A file that the kernel will not begin with is no error here: fdatasync says what is wrong."""
    begin_writeback(-1)
