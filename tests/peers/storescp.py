"""dcmtk's storescp: a storage peer written by other people, which keeps what it gets as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.peers.programs import LOOPBACK, Program, free_port, require

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.certificates import Certificates


class Storescp:
    """storescp with an output folder; offers no query."""

    def __init__(self, folder: Path, *, tls: Certificates | None = None) -> None:
        self.ae_title = "STORESCP"
        self.host = LOOPBACK
        self.port = free_port()
        self.received = folder / "received"
        self.received.mkdir(parents=True)
        command = [require("storescp"), "--aetitle", self.ae_title, "--output-directory", str(self.received)]
        if tls is not None:  # and a client certificate is required
            key, certificate = tls.key("server"), tls.certificate("server")
            command += ["+tls", str(key), str(certificate)]
            command += ["+cf", str(tls.certificate("authority")), "--require-peer-cert"]
        # +xa accepts every transfer syntax, +uf names files by SOP Instance UID
        self.program = Program([*command, "+xa", "+uf", str(self.port)], log=folder / "storescp.log")

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.program.start()
        self.program.wait_for_port(self.port)

    def stop(self) -> None:
        """End it."""
        self.program.stop()

    def files(self) -> list[Path]:
        """Give the files that it has stored."""
        return sorted(self.received.iterdir())
