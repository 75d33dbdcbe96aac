"""The all-in-one node: checks, the embedded Redis and five children, kept alive until SIGTERM or SIGINT.

Every part is the same command that runs it alone (`ichor listen`, `ichor web`, ...); the supervisor holds no state but
process ids, and the children die with it (`console.leash`).
"""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import delete

from console.children import Child, ChildSpec
from console.data_lock import locked_data_dir
from console.embedded_redis import find_redis_server, redis_command
from console.start_checks import check_model_available, check_port_free
from ichor.catalogue.engine import Catalogue
from ichor.catalogue.schema import Beat
from ichor.store import Store
from listener.doors import tls_context
from models.registry import default_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import FrameType

    from ichor.sections import HttpSettings
    from ichor.settings import Settings

PARTS = (
    ("listen", ("listen",)),
    ("web", ("web",)),
    ("analyse", ("work", "--queue", "analyse")),
    ("deliver", ("work", "--queue", "deliver")),
    ("reconcile", ("reconcile",)),
)
"""Name and `ichor` arguments of each child, in the order in which they start and are told to stop."""

TICK_S = 0.1
DRAIN_S = 25.0
"""Time for running work after SIGTERM; what is cut off comes again when its lease runs out."""
REDIS_STOP_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Runs the node; `announce` gets the sentences meant for the person at the terminal."""

    settings: Settings
    config: Path | None
    environ: Mapping[str, str]
    announce: Callable[[str], None]
    children: list[Child] = field(default_factory=list, init=False)
    redis: Child | None = field(default=None, init=False)
    stopping: int = field(default=0, init=False)
    """How often a signal has asked for the end; the second one does not wait."""

    def run(self) -> None:
        """Run until told to stop; raise StartError before anything was started where the node cannot run."""
        os.umask(0o077)
        began_s = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(locked_data_dir(self.settings.data_dir))
            self.check()
            swept = Store(self.settings.data_dir).sweep_partial()  # nothing of this node writes yet
            if swept:
                log.warning("partial_files_removed", files=swept)
            for number in (signal.SIGTERM, signal.SIGINT):
                previous = signal.signal(number, self.on_signal)
                stack.callback(signal.signal, number, previous)
            stack.callback(self.stop_all)
            self.start_all()
            self.watch(began_s=began_s)

    def check(self) -> None:
        """Refuse to start where a child could only die."""
        dicom, web = self.settings.dicom, self.settings.http
        check_port_free(dicom.host, dicom.port, purpose="DICOM", setting="dicom")
        if tls_context(dicom.tls) is not None:
            check_port_free(dicom.host, dicom.tls.port, purpose="DICOM TLS", setting="dicom.tls")
        check_port_free(web.host, web.port, purpose="web", setting="http")
        registry = default_registry(self.settings.resolved_models_dir, self.environ)
        check_model_available(registry, self.settings.analysis.model)
        self.prepare_catalogue()

    def prepare_catalogue(self) -> None:
        """Create or migrate it once, so that the children do not queue for the migration lock."""
        catalogue = Catalogue.open(self.settings.resolved_catalogue_url)
        try:
            if not self.settings.catalogue_url:
                # The catalogue is this node's alone: heartbeats in it are of processes that are gone.
                with catalogue.write() as session:
                    session.execute(delete(Beat))
        finally:
            catalogue.close()

    def start_all(self) -> None:
        """Start Redis where it is ours, then every part."""
        if not self.settings.redis_url:
            argv = redis_command(
                find_redis_server(), socket=self.settings.redis_socket, directory=self.settings.data_dir
            )
            self.redis = Child(spec=ChildSpec(name="redis", argv=tuple(argv)), environ=self.environ)
            self.redis.start()
        for name, arguments in PARTS:
            spec = ChildSpec(name=name, argv=(*part_command(arguments), *self.config_arguments()))
            child = Child(spec=spec, environ=self.environ)
            self.children.append(child)
            child.start()

    def config_arguments(self) -> tuple[str, ...]:
        """Hand the children the settings file that this process was given."""
        return () if self.config is None else ("--config", str(self.config.resolve()))

    def watch(self, *, began_s: float) -> None:
        """Keep the children alive, and say once when all of them can do their job."""
        ready = False
        next_probe_s = 0.0
        while not self.stopping:
            for child in (self.redis, *self.children):
                if child is not None:
                    child.keep_alive()
            if not ready and time.monotonic() >= next_probe_s:
                ready = is_ready(self.settings.http)
                next_probe_s = time.monotonic() + 0.25
                if ready:
                    self.announce(self.ready_line(seconds=time.monotonic() - began_s))
            time.sleep(TICK_S)

    def ready_line(self, *, seconds: float) -> str:
        """Say where the node can be reached."""
        dicom = self.settings.dicom
        return (
            f"ready after {seconds:.1f} s: DICOM {dicom.ae_title} at {dicom.host}:{dicom.port}, "
            f"web at {self.settings.base_url}/, model {self.settings.analysis.model} (research use only)"
        )

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Note that the end was asked for; children hear of it from `stop_all`."""
        self.stopping += 1
        if self.stopping > 1:
            for child in self.children:
                child.signal_group(signal.SIGKILL)
        log.info("stop_requested", signal=signal.Signals(number).name)

    def stop_all(self) -> None:
        """Tell every child to finish, wait, kill what stays, and end Redis last."""
        until_s = time.monotonic() + DRAIN_S
        for child in self.children:
            child.signal_group(signal.SIGTERM)
        for child in self.children:
            child.stop(until_s=until_s)
        if self.redis is not None:
            self.redis.signal_group(signal.SIGTERM)
            self.redis.stop(until_s=time.monotonic() + REDIS_STOP_S)
        log.info("node_stopped")


def part_command(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Give the command line of an `ichor` part in this very interpreter."""
    return (sys.executable, "-P", "-m", "console.cli", *arguments)


def readiness(web: HttpSettings) -> int | None:
    """Give the status of the node's own /readyz; None where nobody answers."""
    if web.certificate is None:
        connection = http.client.HTTPConnection(web.host, web.port, timeout=2.0)
    else:
        # Our own certificate and no other, whatever name it is good for and whoever signed it.
        trust = ssl.create_default_context(cafile=web.certificate)
        trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        trust.check_hostname = False
        connection = http.client.HTTPSConnection(web.host, web.port, timeout=2.0, context=trust)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def is_ready(web: HttpSettings) -> bool:
    """Ask the node's own /readyz."""
    return readiness(web) == http.client.OK
