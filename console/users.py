"""Who may acknowledge or ask for something again: the users of the settings, known by Argon2id hashes (RFC 9106).

There is no session and no cookie: who asks shows the password with the request, so a page of another site
cannot do it on somebody's behalf. Wrong passwords are counted, and too many of them end the guessing for a while.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ichor.errors import NotAuthenticated, NoUsers, SettingsError, TooManyTries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ichor.settings import UserSettings

MOST_FAILURES = 8
FAILURES_WITHIN_S = 60.0
NOBODY = ""
"""All names that the settings do not know count as one."""


def password_hash(password: str) -> str:
    """Give the hash that stands in the settings in place of a password."""
    return PasswordHasher().hash(password)


class Users:
    """Knows the users of the settings; raises SettingsError where a hash is none."""

    def __init__(self, users: Sequence[UserSettings]) -> None:
        self._hasher = PasswordHasher()
        self._hashes = {user.name: user.password_hash.get_secret_value() for user in users}
        # A name that is not known takes as long as one that is.
        self._hashes[NOBODY] = self._hasher.hash("nobody")
        self._failures: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MOST_FAILURES))
        self._alone = threading.Lock()
        for name, entry in self._hashes.items():
            try:
                self._hasher.check_needs_rehash(entry)
            except InvalidHashError as error:
                raise SettingsError(f"users: {name}: password_hash is none; `ichor password` makes one.") from error

    @property
    def anybody(self) -> bool:
        """Whether the settings name any user."""
        return len(self._hashes) > 1

    def check(self, name: str, password: str) -> str:
        """Give the user's name.

        Raises:
            NoUsers: the settings name none.
            NotAuthenticated: name or password is wrong.
            TooManyTries: it was wrong too often lately.
        """
        if not self.anybody:
            raise NoUsers
        known = name if name in self._hashes else NOBODY
        with self._alone:  # one hash at a time: each takes 64 MiB and tens of milliseconds
            failures = self._failures[known]
            if len(failures) == MOST_FAILURES and time.monotonic() - failures[0] < FAILURES_WITHIN_S:
                raise TooManyTries
            try:
                self._hasher.verify(self._hashes[known], password)
            except VerificationError as error:
                failures.append(time.monotonic())
                raise NotAuthenticated from error
            if known == NOBODY:
                raise NotAuthenticated
            failures.clear()
        return known
