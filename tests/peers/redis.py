"""A real Redis on a Unix socket of its own, with nothing kept on disk unless asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from tests.peers.programs import Program, require, wait_until

if TYPE_CHECKING:
    from pathlib import Path


class RedisServer:
    """redis-server under a short path (a socket's path holds 107 bytes)."""

    def __init__(self, folder: Path, *, persistent: bool = False) -> None:
        self.socket = folder / "redis.sock"
        command = [require("redis-server"), "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        command += ["--save", "", "--appendonly", "yes" if persistent else "no", "--appendfsync", "always"]
        command += ["--dir", str(folder)]
        self.program = Program(command, log=folder / "redis.log")

    @property
    def url(self) -> str:
        """The URL as Celery's client writes it."""
        return f"redis+socket://{self.socket}"

    def client(self) -> redis.Redis:
        """Connect; the caller closes it."""
        return redis.Redis(unix_socket_path=str(self.socket))

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.program.start()
        wait_until(lambda: self._answers() or not self.program.running, what="redis answers")
        self.program.check()

    def flush_all(self) -> None:
        """Forget everything."""
        with self.client() as client:
            client.flushall()

    def stop(self) -> None:
        """End it."""
        self.program.stop()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
