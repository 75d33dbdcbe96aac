"""The demo talks to this machine only: free loopback ports, and a refusal of anything that would change that."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from ichor.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK = "127.0.0.1"
HOST_VARIABLES = ("ICHOR_DICOM__HOST", "ICHOR_HTTP__HOST")
KEPT = frozenset({"ICHOR_WEIGHTS"})


def refuse_other_hosts(environ: Mapping[str, str]) -> None:
    """Raise SettingsError where the environment asks the node to listen beyond this machine."""
    for variable in HOST_VARIABLES:
        host = environ.get(variable, LOOPBACK)
        if not is_loopback(host):
            raise SettingsError(f"The demo runs on the loopback address only; {variable} asks for {host}.")


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def node_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment without settings of another node; the demo's node has a settings file of its own."""
    return {name: value for name, value in environ.items() if not name.startswith("ICHOR_") or name in KEPT}


def listens(port: int) -> bool:
    """Say whether something takes connections on this loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Give a loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
