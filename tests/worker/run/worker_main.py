"""A real worker process with the threshold segmenter: `python -m tests.worker.run.worker_main SETTINGS QUEUE PAUSE_S`.

SETTINGS is JSON. A negative pause is a model that kills its process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from ichor.settings import Settings
from models.segmenter import HeadGrid, Segmentation
from tests.worker.run.threshold import Threshold
from worker.tasks import run_worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadly(Threshold):
    """Takes its process with it, as a driver that faults does."""

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Die."""
        os.kill(os.getpid(), signal.SIGSEGV)
        return Threshold.segment(self, grid, on_progress=on_progress)


def main() -> None:
    """Work until told to stop."""
    settings = Settings(**json.loads(sys.argv[1]))
    pause_s = float(sys.argv[3])
    segmenter = Deadly() if pause_s < 0 else Threshold(pause_s=pause_s)
    run_worker(settings, queue="analyse" if sys.argv[2] == "analyse" else "deliver", load=lambda _: segmenter)


if __name__ == "__main__":
    main()
