"""`ichor listen`."""

import os

from console.acceptor import allow_descriptors
from console.acceptors import run_acceptors
from console.cli.options import ConfigOption, load
from console.cli.signals import stop_event


def command(config: ConfigOption = None) -> None:
    """Run the DICOM listener."""
    settings = load(config)
    os.umask(0o077)
    allow_descriptors()
    run_acceptors(settings, config=config, environ=os.environ, stop=stop_event())
