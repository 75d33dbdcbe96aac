"""`ichor reconcile`."""

import os

from console.cli.options import ConfigOption, load
from console.cli.signals import stop_event
from console.reconciler import run_reconciler


def command(config: ConfigOption = None) -> None:
    """Settle studies and re-issue lost wake-ups."""
    settings = load(config)
    os.umask(0o077)
    run_reconciler(settings, stop=stop_event())
