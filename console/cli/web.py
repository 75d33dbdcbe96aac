"""`ichor web`."""

import os

from console.cli.options import ConfigOption, load
from console.web.server import run_web


def command(config: ConfigOption = None) -> None:
    """Run the web server."""
    settings = load(config)
    os.umask(0o077)
    run_web(settings)
