"""One chaos run from start to books: studies come in while everything is killed in turn, then all must be well."""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.audit import Audit, audit, settled
from tests.chaos.deployment import Deployment
from tests.chaos.disk import small_disk
from tests.chaos.harm import do_harm, harms, schedule
from tests.chaos.senders import Sender
from tests.chaos.studies import make_studies
from tests.peers.programs import wait_until

MB_PER_STUDY = 12
SENDERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything."""

    studies: int
    harms: int
    gap_s: float
    """Mean pause between two harms; the studies are spread over the time that all of them take."""
    analysis_workers: int
    quiet_s: float
    """How long everything may take to come right after the last harm."""
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done, and what became of it."""

    plan: Plan
    done: Counter[str]
    restarts: Counter[str]
    tries: int
    """Associations and requests that the senders needed."""
    harm_s: float
    quiet_s: float
    """From the last harm, or the last slice if that came later, until every study was analysed and confirmed."""
    audit: Audit
    logs: dict[str, str]


def run(plan: Plan) -> Report:
    """Do it; raises nothing where studies are lost: the audit says so."""
    rng = random.Random(plan.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ichor-chaos-")))
        folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
        studies = make_studies(_made(folder / "studies"), plan.studies, seed=plan.seed)
        disk = stack.enter_context(small_disk(folder / "data", size_mb=64 + MB_PER_STUDY * plan.studies))
        deployment = Deployment(folder, disk, analysis_workers=plan.analysis_workers)
        deployment.start(stack)
        over = threading.Event()
        stack.callback(over.set)
        pause_s = SENDERS * plan.gap_s * plan.harms / plan.studies
        senders = [
            Sender(
                dicom_port=deployment.dicom_port,
                http_port=deployment.http_port,
                studies=studies[number::SENDERS],
                pause_s=pause_s,
                seed=plan.seed + number,
            )
            for number in range(SENDERS)
        ]
        threads = [threading.Thread(target=sender.run, args=(over,), daemon=True) for sender in senders]
        for thread in threads:
            thread.start()
        began_s = time.monotonic()
        done = do_harm(deployment, schedule(list(harms(deployment)), plan.harms, rng), gap_s=plan.gap_s, rng=rng)
        harm_s = time.monotonic() - began_s
        for thread in threads:
            thread.join(plan.quiet_s)
        over.set()
        quiet_from_s = time.monotonic()
        with contextlib.suppress(TimeoutError):  # the audit says what is missing
            wait_until(lambda: not settled(deployment, studies), timeout_s=plan.quiet_s, poll_s=0.5)
        quiet_s = time.monotonic() - quiet_from_s
        return Report(
            plan=plan,
            done=done,
            restarts=deployment.restarts,
            tries=sum(sender.tries for sender in senders),
            harm_s=harm_s,
            quiet_s=quiet_s,
            audit=audit(deployment, studies),
            logs=deployment.logs(),
        )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
