"""Modalities: they send until every slice was answered with Success, and sometimes a study once more to be sure."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ichor.errors import IchorError
from ichor.peers.dimse import Peer, store
from tests.chaos.studies import SentStudy
from tests.peers.programs import LOOPBACK

RETRY_S = 0.3
TIMEOUT_S = 10.0
STOW_EVERY = 4
AGAIN_EVERY = 7


@dataclass(slots=True, kw_only=True)
class Sender:
    """Sends its studies one after the other, over DIMSE or STOW-RS."""

    dicom_port: int
    http_port: int
    studies: Sequence[SentStudy]
    pause_s: float
    seed: int
    started: int = field(default=0, init=False)
    tries: int = field(default=0, init=False)

    def run(self, over: threading.Event) -> None:
        """Send everything."""
        rng = random.Random(self.seed)
        for number, study in enumerate(self.studies):
            self.started += 1
            for _ in range(2 if number % AGAIN_EVERY == AGAIN_EVERY - 1 else 1):
                self._until_taken(study, stow=number % STOW_EVERY == STOW_EVERY - 1, over=over)
            if over.wait(rng.uniform(0.5, 1.5) * self.pause_s):
                return

    def _until_taken(self, study: SentStudy, *, stow: bool, over: threading.Event) -> None:
        missing = list(study.paths)
        while missing and not over.is_set():
            self.tries += 1
            for path in list(self._stow(missing) if stow else self._store(missing)):
                missing.remove(path)
            if missing:
                time.sleep(RETRY_S)

    def _store(self, paths: list[Path]) -> Iterator[Path]:
        peer = Peer(
            host=LOOPBACK,
            port=self.dicom_port,
            ae_title="ICHOR",
            calling_ae_title="SCANNER",
            timeout_s=TIMEOUT_S,
        )
        try:
            for outcome in store(peer, paths):
                if outcome.stored:
                    yield outcome.path
        except IchorError:
            return

    def _stow(self, paths: list[Path]) -> Iterator[Path]:
        boundary = uuid.uuid4().hex
        parts = [
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + path.read_bytes() + b"\r\n"
            for path in paths
        ]
        headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}'}
        url = f"http://{LOOPBACK}:{self.http_port}/dicom-web/studies"
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        try:
            answer = httpx.post(url, content=body, headers=headers, timeout=TIMEOUT_S)
        except httpx.HTTPError:
            return
        if answer.status_code == 200:  # PS3.18 Table 10.5.3-1: all were stored
            yield from paths
