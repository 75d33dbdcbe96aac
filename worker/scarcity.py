"""Errors of a host that is short of something: they say nothing of the study, which may be read later."""

from __future__ import annotations

import errno

_HOST_ERRNOS = frozenset({errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE})
"""What an operating system answers for want of memory or files, or with a disk or a share in trouble."""


def is_scarcity(error: Exception) -> bool:
    """Whether an error is the host's, so that what was being read must not be called damaged."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _HOST_ERRNOS)
