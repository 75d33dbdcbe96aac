"""`ichor work --queue analyse` with the threshold segmenter in place of a network: `... stub_worker CONFIG PAUSE_S`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ichor.log import configure_logging
from ichor.settings import load_settings
from tests.worker.run.threshold import Threshold
from worker.tasks import run_worker


def main() -> None:
    """Work until told to stop."""
    settings = load_settings(Path(sys.argv[1]), environ=os.environ)
    configure_logging(settings.log_level, json=True)
    os.umask(0o077)
    run_worker(settings, queue="analyse", load=lambda _: Threshold(pause_s=float(sys.argv[2])))


if __name__ == "__main__":
    main()
