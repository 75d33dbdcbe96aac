"""A PostgreSQL cluster of the tests' own, on a Unix socket alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.peers.programs import missing

USER = "ichor"


class PostgresCluster:
    """Made with initdb, started with pg_ctl; PostgreSQL does not run as root, so root becomes `postgres` for it."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self._durable = durable
        # Debian keeps them off PATH, one folder per version.
        found = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
        initdb = found[-1] if found else shutil.which("initdb")
        if initdb is None:
            missing("initdb is neither below /usr/lib/postgresql nor on PATH")
        self._programs = Path(initdb).parent
        self._databases = 0

    def create(self) -> None:
        """Make the cluster's files."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "--auth=trust", f"--username={USER}", "--no-sync", "--pgdata", str(self.folder / "data"))

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-c listen_addresses='' -c fsync={'on' if self._durable else 'off'} -k {self.folder}"
        self._run(
            "pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-o", options
        )

    def stop(self) -> None:
        """End it as a crash would: at once, with its clients cut off."""
        self._run("pg_ctl", "stop", "-w", "-D", str(self.folder / "data"), "-m", "immediate")

    def kill(self) -> None:
        """End the server and every process of it by SIGKILL, as the end of its container would."""
        pid_file = self.folder / "data" / "postmaster.pid"
        server = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        family = [server, *server.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        self._databases += 1
        name = f"catalogue{self._databases}"
        self._run("createdb", "-h", str(self.folder), "-U", USER, name)
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        # Output goes to a file: the server that pg_ctl leaves behind would hold a pipe open.
        with (self.folder / "output").open("ab") as output:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", check=False
            )
        if ended.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{(self.folder / 'output').read_text()[-3000:]}")
