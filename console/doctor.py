"""`ichor doctor`: one line per thing that the node needs, each looked at now and none of them changed."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from console.embedded_redis import find_redis_server
from console.redis_link import redis_information
from console.web.guard import LOOPBACK_NAMES
from ichor.catalogue.engine import Catalogue, database_now
from ichor.catalogue.releases import held_names
from ichor.clock import utc_now
from ichor.errors import IchorError, PeerOffersNoQuery
from ichor.peers import dicomweb
from ichor.peers.dimse import echo
from ichor.sections import DicomwebDestination, Hl7Destination
from models.registry import default_registry
from worker.deliver.dicomweb import web_peer
from worker.deliver.dimse import dimse_peer
from worker.deliver.hl7 import connection_to
from worker.eligibility import is_on_duty
from worker.worklist import worklist_peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ichor.settings import Settings

OLD_REDIS_MAJOR = 6
CLOCK_TOLERANCE_S = 2.0
ECHO_TIMEOUT_S = 5.0
GIB = 1024**3
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - to be warned of
DECODERS = (("openjpeg", "JPEG 2000"), ("jpeg_ls", "JPEG-LS"), ("rle", "RLE"), ("gdcm", "JPEG baseline and lossless"))


class Level(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding, in one sentence."""

    name: str
    level: Level
    text: str


def ok(name: str, text: str) -> Check:
    """Give a check that is well."""
    return Check(name=name, level=Level.OK, text=text)


def warning(name: str, text: str) -> Check:
    """Give a check that a person should know of."""
    return Check(name=name, level=Level.WARNING, text=text)


def failed(name: str, text: str) -> Check:
    """Give a check that stops the node from doing its job."""
    return Check(name=name, level=Level.FAILED, text=text)


def examine(settings: Settings, *, environ: Mapping[str, str]) -> tuple[Check, ...]:
    """Run every check; one that finds something wrong never keeps the next from being run."""
    steps: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("settings", lambda: check_settings(settings)),
        ("time zone", check_time_zone),
        ("disk", lambda: check_disk(settings)),
        ("redis", lambda: check_redis(settings)),
        ("catalogue", lambda: check_catalogue(settings)),
        ("delivery", lambda: check_hold(settings)),
        ("model", lambda: check_model(settings, environ)),
        ("gpu", lambda: check_gpu(settings)),
        ("decoders", check_decoders),
        ("destinations", lambda: check_destinations(settings)),
        ("worklist", lambda: check_worklist(settings)),
    )
    found: list[Check] = []
    for name, step in steps:
        try:
            found.extend(step())
        except (IchorError, SQLAlchemyError, OSError) as error:
            found.append(failed(name, " ".join(str(error).split())))
    return tuple(found)


def check_settings(settings: Settings) -> Iterator[Check]:
    """Name what the settings leave open."""
    yield ok("settings", f"readable; data in {settings.data_dir}")
    if not settings.destinations:
        yield warning("settings", "no destination: results stay on this node")
    if not settings.alerts:
        yield warning("settings", "no alert channel: nobody is told of a suspected haemorrhage")
    if settings.alerts and not settings.users:
        yield warning("settings", "no users: nobody can acknowledge an alert")
    if settings.alerts and urlsplit(settings.base_url).hostname in LOOPBACK_NAMES | ANY_ADDRESS:
        text = f"links in alerts lead to {settings.base_url}, where nobody else can follow: set http.public_url"
        yield warning("settings", text)
    unheard = silent_hour(settings)
    if unheard is not None:
        yield warning("settings", f"no alert channel is told at every hour; nobody is told on {unheard:%A at %H:%M}")
    plain = settings.http.certificate is None and not settings.http.public_url.startswith("https:")
    if plain and settings.http.host not in LOOPBACK_NAMES:
        yield warning("settings", "the web server speaks plain HTTP: passwords of users can be read")
    if settings.delivery.hold:
        yield warning("settings", "delivery.hold is on: results are held until `ichor release NAME`")
    if settings.http.host not in LOOPBACK_NAMES:
        yield warning("settings", f"the web server listens on {settings.http.host} and has no log-in")


def check_time_zone() -> Iterator[Check]:
    """Say in which zone times of scanners are read that name none; a wrong one makes new scans old, or lie ahead."""
    local = utc_now().astimezone()
    yield ok("time zone", f"{local:%Z %z}; it is {local:%H:%M} here. Scanners that name no zone must agree with it")


def silent_hour(settings: Settings) -> datetime | None:
    """Give the first half hour of a week at which no channel is told of a finding; None where somebody always is."""
    start = datetime.fromisoformat("2026-01-05").astimezone()  # a Monday, in local time
    if not settings.finding_channels:
        return None
    for number in range(7 * 48):
        moment = start + timedelta(minutes=30 * number)
        if not any(is_on_duty(channel, moment) for channel in settings.finding_channels):
            return moment
    return None


def check_disk(settings: Settings) -> Iterator[Check]:
    """Write, sync and rename below the data directory, and look at the space left."""
    place = settings.data_dir
    if not place.is_dir():
        yield warning("disk", f"{place} does not exist yet; it is made at the first start")
        return
    began_s = time.perf_counter()
    with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as probe:
        probe.write(bytes(512 * 1024))
        probe.flush()
        os.fdatasync(probe.fileno())
    milliseconds = (time.perf_counter() - began_s) * 1000
    status = os.statvfs(place)
    free_gib = status.f_bavail * status.f_frsize / GIB
    text = f"{free_gib:.1f} GiB free; a slice of 512 KiB is written and synced in {milliseconds:.0f} ms"
    yield ok("disk", text) if free_gib > settings.disk.min_free_gb else failed("disk", f"nearly full: {text}")
    mode = place.stat().st_mode & 0o777
    if mode & 0o077:
        yield warning("disk", f"{place} is open to other users of this machine (mode {mode:o})")


def check_redis(settings: Settings) -> Iterator[Check]:
    """Find the Redis that `ichor serve` would start, or ask the one that is configured or running."""
    if not settings.redis_url:
        server = find_redis_server()
        answer = subprocess.run(
            [server.path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
        found = re.search(r"v=([\d.]+)", answer)
        version = found.group(1) if found is not None else "unknown"
        text = f"embedded: {server.path} {version}"
        old = version.split(".")[0].isdigit() and int(version.split(".")[0]) <= OLD_REDIS_MAJOR
        yield warning("redis", f"{text}, which is old; install redis-server") if old else ok("redis", text)
        if not settings.redis_socket.exists():
            yield ok("redis", "not running; `ichor serve` starts it")
            return
    information = redis_information(settings.resolved_redis_url)
    yield ok("redis", f"answers, version {information.get('redis_version', 'unknown')}")


def check_hold(settings: Settings) -> Iterator[Check]:
    """During commissioning, say what is held back for whom, and who was released."""
    names = {entry.name for entry in (*settings.destinations, *settings.alerts)}
    if not settings.delivery.hold or not names or not has_catalogue(settings):
        return
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        with catalogue.read() as session:
            held = held_names(session, settings)
    finally:
        catalogue.close()
    if names - held:
        yield ok("delivery", f"released: {', '.join(sorted(names - held))}")
    if held:
        yield warning("delivery", f"held back: {', '.join(sorted(held))}")


def has_catalogue(settings: Settings) -> bool:
    """Whether there is one: the embedded one is made at the first start, and looking must not make it."""
    return bool(settings.catalogue_url) or (settings.data_dir / "catalogue.sqlite").exists()


def check_catalogue(settings: Settings) -> Iterator[Check]:
    """Open the catalogue where there is one, and compare its clock with this machine's."""
    if not has_catalogue(settings):
        yield ok("catalogue", "not made yet; the first start makes it")
        return
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        with catalogue.read() as session:
            off_s = abs((database_now(session) - utc_now()).total_seconds())
    finally:
        catalogue.close()
    yield ok("catalogue", "opens and answers")
    text = f"the catalogue's clock and this machine's differ by {off_s:.1f} s"
    yield ok("clock", text) if off_s <= CLOCK_TOLERANCE_S else failed("clock", text)


def check_model(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    """Compare the SHA-256 of every weight file with the model's spec."""
    registry = default_registry(settings.resolved_models_dir, environ)
    name = settings.analysis.model
    spec = registry.spec(name)
    if not registry.available(name):
        yield failed("model", f"the weights of {name} are not here; run `ichor models pull {name}`")
        return
    folder = registry.locate(name)
    for file in spec.files:
        digest = hashlib.sha256((folder / file.name).read_bytes()).hexdigest()
        if digest != file.sha256:
            yield failed("model", f"{folder / file.name} does not have the SHA-256 that the spec of {name} records")
            return
    yield ok("model", f"{name}: {len(spec.files)} weight files in {folder}, every SHA-256 right")


def check_gpu(settings: Settings) -> Iterator[Check]:
    """Ask torch for a CUDA device."""
    import torch  # delayed: takes a second, and only this check needs it

    if torch.cuda.is_available():
        yield ok("gpu", torch.cuda.get_device_name(0))
    elif settings.analysis.device.startswith("cuda"):
        yield failed("gpu", f"analysis.device is {settings.analysis.device} and torch finds no CUDA device")
    else:
        yield ok("gpu", f"none; the model runs on {os.cpu_count()} CPU cores")


def check_decoders() -> Iterator[Check]:
    """Find a decoder for each compressed transfer syntax that CT comes in."""
    missing = [what for module, what in DECODERS if find_spec(module) is None]
    if missing:
        yield failed("decoders", f"missing for {', '.join(missing)}")
    else:
        yield ok("decoders", ", ".join(what for _module, what in DECODERS))


def check_destinations(settings: Settings) -> Iterator[Check]:
    """C-ECHO every DIMSE destination, and ask every DICOMweb one for a study."""
    for destination in settings.destinations:
        name = f"destination {destination.name}"
        if isinstance(destination, DicomwebDestination):
            yield check_web_destination(destination)
            continue
        if isinstance(destination, Hl7Destination):
            yield check_hl7_destination(destination)
            continue
        described = dimse_peer(destination, calling_ae_title=settings.dicom.ae_title)
        peer = replace(described, timeout_s=min(destination.timeout_s, ECHO_TIMEOUT_S))
        try:
            echo(peer)
        except IchorError as error:
            yield failed(name, f"{destination.ae_title} at {destination.host}:{destination.port}: {error}")
        else:
            yield ok(name, f"{destination.ae_title} at {destination.host}:{destination.port} answers C-ECHO")


def check_worklist(settings: Settings) -> Iterator[Check]:
    """C-ECHO the modality worklist, where there is one."""
    worklist = settings.lanes.worklist
    if not worklist.host:
        return
    try:
        echo(replace(worklist_peer(settings), timeout_s=min(worklist.timeout_s, ECHO_TIMEOUT_S)))
    except IchorError as error:
        yield failed("worklist", f"{worklist.ae_title} at {worklist.host}:{worklist.port}: {error}")
    else:
        yield ok("worklist", f"{worklist.ae_title} at {worklist.host}:{worklist.port} answers C-ECHO")


def check_web_destination(destination: DicomwebDestination) -> Check:
    """Ask a DICOMweb service for at most one study."""
    name = f"destination {destination.name}"
    try:
        dicomweb.ping(replace(web_peer(destination), timeout_s=min(destination.timeout_s, ECHO_TIMEOUT_S)))
    except PeerOffersNoQuery:
        return warning(name, f"{destination.url} answers and offers no query: arrival cannot be proven")
    except IchorError as error:
        return failed(name, f"{destination.url}: {error}")
    return ok(name, f"{destination.url} answers a QIDO-RS query")


def check_hl7_destination(destination: Hl7Destination) -> Check:
    """Open a connection and close it; a message without a result would be a lie."""
    name = f"destination {destination.name}"
    try:
        with connection_to(destination, timeout_s=min(destination.timeout_s, ECHO_TIMEOUT_S)):
            return ok(name, f"{destination.host}:{destination.port} takes connections")
    except IchorError as error:
        return failed(name, str(error))
