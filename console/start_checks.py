"""What must be true before the node starts; each check raises StartError with one sentence that says what to do."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ichor.errors import StartError

if TYPE_CHECKING:
    from models.registry import Registry


def check_port_free(host: str, port: int, *, purpose: str, setting: str) -> None:
    """Bind and let go again, as the listening child will."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        section = setting.partition(".")[0]
        raise StartError(f"The {purpose} host {host!r} does not resolve; correct {section}.host.") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            message = (
                f"The {purpose} port {port} on {host} cannot be used ({error.strerror}); free it or set {setting}.port."
            )
            raise StartError(message) from error


def check_model_available(registry: Registry, name: str) -> None:
    """Refuse to start without the weights of the configured model; an unknown name raises ModelNotFound."""
    registry.spec(name)
    if not registry.available(name):
        raise StartError(f"The weights of model {name} are not on this machine; run `ichor models pull {name}`.")
