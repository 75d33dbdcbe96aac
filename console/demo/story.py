"""The demo, step by step: PACS, receiver, node, phantom, C-STORE, and then waiting for what must arrive."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.demo.loopback import LOOPBACK, free_port, refuse_other_hosts
from console.demo.model_choice import choose_model
from console.demo.node import AE_TITLE, SETTLE_S, DemoNode, NodePorts, write_settings
from console.demo.pacs import Pacs, find_pacs
from console.demo.receiver import AlertReceiver
from console.listing import current_result
from console.outcome import STILL_OPEN
from ichor.catalogue import views
from ichor.catalogue.engine import Catalogue
from ichor.clock import utc_now
from ichor.errors import PeerRejected, StudyNotFound
from ichor.peers.dimse import Peer, store
from models.phantoms import PhantomPlan, write_phantom
from models.phantoms.lesions import LesionRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from console.demo.screen import Screen
    from ichor.catalogue.records import ResultRow
    from ichor.settings import Settings
    from models.phantoms import PhantomTruth

LESION = LesionRequest(kind="iph", volume_ml=15.0, side="left")
SEED = 7
REQUIRED = ("seg", "sr", "summary")
LONGEST_WAIT_S = 1800.0
POLL_S = 0.25
HEAD_MM = 160.0
GRACE_S = 5.0
"""After the study has ended: time for the last object and the alert, where one is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRequest:
    """What the person at the terminal asked for."""

    out: Path
    model: str | None
    members: int | None
    models_dir: Path
    environ: Mapping[str, str]
    slices: int | None = None
    """Over 160 mm; None: as many of 5 mm as cover the head."""


@dataclass(slots=True, kw_only=True)
class Arrivals:
    """When what was waited for came; seconds after the last slice was accepted."""

    in_pacs_s: float | None = None
    alert_s: float | None = None
    alert_provisional: bool = False
    """Whether the first message came before the series had settled."""
    kinds: tuple[str, ...] = ()
    alerts: int = 0
    badly_signed: int = 0

    @property
    def complete(self) -> bool:
        """Whether SEG, SR and summary lie in the PACS and a correctly signed alert came."""
        return self.in_pacs_s is not None and self.alert_s is not None and self.badly_signed == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOutcome:
    """Everything that the report needs."""

    truth: PhantomTruth
    result: dict[str, Any] | None
    arrivals: Arrivals
    pacs_title: str
    model: str
    out: Path
    files: tuple[str, ...]


def run_demo(request: DemoRequest, screen: Screen) -> DemoOutcome:
    """Run the demo; whatever happens, everything that it started is stopped."""
    refuse_other_hosts(request.environ)
    request.out.mkdir(parents=True, exist_ok=True)
    model = choose_model(
        name=request.model,
        members=request.members,
        models_dir=request.models_dir,
        environ=request.environ,
        tell=screen.warn,
    )
    screen.say(f"Model {model.name}, {model.members} of its members; loopback only; research use only.")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ichor-demo-")))
        ports = NodePorts(dicom=free_port(), http=free_port())
        pacs = find_pacs(scratch / "pacs", node_ae_title=AE_TITLE, node_port=ports.dicom)
        stack.callback(pacs.stop)
        pacs.start()
        screen.say(f"PACS: {pacs.title}, {pacs.ae_title} at {LOOPBACK}:{pacs.port}")
        secret_file = scratch / "alert-secret"
        secret_file.touch(mode=0o600)
        secret_file.write_text(secrets.token_urlsafe(32), encoding="ascii")
        receiver = AlertReceiver(secret_file.read_text(encoding="ascii"))
        receiver.start()
        stack.callback(receiver.stop)
        config = scratch / "ichor.toml"
        settings = write_settings(
            config,
            data_dir=scratch / "data",
            ports=ports,
            model=model,
            pacs=pacs,
            alert_url=receiver.url,
            secret_file=secret_file,
        )
        node = DemoNode(config=config, settings=settings, environ=request.environ, log=request.out / "node.log")
        stack.callback(node.stop)
        ready_s = node.start()
        screen.say(f"Node: ready after {ready_s:.1f} s, http://{LOOPBACK}:{ports.http}/ shows the worklist meanwhile")
        truth = write_study(request.out / "phantom", screen, slices=request.slices)
        last_slice_s = send_study(request.out / "phantom" / "dicom", settings, screen)
        with screen.waiting(settle_s=SETTLE_S) as on_state:
            arrivals = wait_for_results(settings, truth.study_instance_uid, pacs, receiver, last_slice_s, on_state)
        row = finished_result(settings, truth.study_instance_uid)
        return DemoOutcome(
            truth=truth,
            result=None if row is None else json.loads(row.summary_json),
            arrivals=arrivals,
            pacs_title=pacs.title,
            model=model.name,
            out=request.out,
            files=() if row is None else copy_result(row.directory, request.out),
        )


def write_study(folder: Path, screen: Screen, *, slices: int | None = None) -> PhantomTruth:
    """Write the phantom, acquired now: alerts are for patients now in the house."""
    shutil.rmtree(folder, ignore_errors=True)  # slices of an earlier demo would be sent as well
    plan = PhantomPlan(lesions=(LESION,), seed=SEED, acquired_at=utc_now(), fresh_uids=True)
    if slices is not None:
        plan = replace(plan, slices=slices, slice_thickness_mm=HEAD_MM / slices)
    with screen.step("Making a head CT with a bleed of known size"):
        return write_phantom(folder, plan)


def send_study(folder: Path, settings: Settings, screen: Screen) -> float:
    """Send every slice by C-STORE and give the moment at which the last one was accepted."""
    paths = sorted(folder.iterdir())
    peer = Peer(
        host=settings.dicom.host,
        port=settings.dicom.port,
        ae_title=settings.dicom.ae_title,
        calling_ae_title="DEMOSCANNER",
        timeout_s=30.0,
    )
    with screen.counting("Sending by C-STORE", total=len(paths)) as on_sent:
        for outcome in store(peer, paths):
            if not outcome.stored:
                raise PeerRejected(f"The demo's node refused a slice with status {outcome.status:04x}.")
            on_sent()
    return time.monotonic()


def wait_for_results(
    settings: Settings,
    study_uid: str,
    pacs: Pacs,
    receiver: AlertReceiver,
    last_slice_s: float,
    on_state: Callable[[str, Arrivals], None],
) -> Arrivals:
    """Wait until everything arrived, or until nothing more can be expected."""
    arrivals = Arrivals()
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    ended_s: float | None = None
    try:
        while not arrivals.complete and time.monotonic() - last_slice_s < LONGEST_WAIT_S:
            look(arrivals, pacs, receiver, last_slice_s)
            state = study_state(catalogue, study_uid)
            on_state(state, arrivals)
            if state not in STILL_OPEN and ended_s is None:
                ended_s = time.monotonic()
            patience_s = settings.delivery.confirm_timeout_s if state == "analysed" else GRACE_S
            if ended_s is not None and time.monotonic() - ended_s > patience_s:
                break
            time.sleep(POLL_S)
    finally:
        catalogue.close()
    return arrivals


def look(arrivals: Arrivals, pacs: Pacs, receiver: AlertReceiver, last_slice_s: float) -> None:
    """Note what is there now."""
    arrivals.kinds = tuple(sorted(pacs.kinds()))
    if arrivals.in_pacs_s is None and set(REQUIRED) <= set(arrivals.kinds):
        arrivals.in_pacs_s = time.monotonic() - last_slice_s
    good = [alert for alert in receiver.received if alert.signed]
    arrivals.alerts = len(good)
    arrivals.badly_signed = len(receiver.received) - len(good)
    if arrivals.alert_s is None and good:
        arrivals.alert_s = good[0].at_s - last_slice_s
        arrivals.alert_provisional = bool(json.loads(good[0].body)["provisional"])


def study_state(catalogue: Catalogue, study_uid: str) -> str:
    """Give the study's state; it takes a moment until it is in the catalogue."""
    try:
        with catalogue.read() as session:
            return views.study_detail(session, study_uid).study.state
    except StudyNotFound:
        return "receiving"


def finished_result(settings: Settings, study_uid: str) -> ResultRow | None:
    """Give the result that stands, where there is one."""
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        with catalogue.read() as session:
            return current_result(views.study_detail(session, study_uid))
    except StudyNotFound:
        return None
    finally:
        catalogue.close()


def copy_result(directory: Path, out: Path) -> tuple[str, ...]:
    """Copy the result's files out of the data directory, which goes away."""
    names = sorted(path.name for path in directory.iterdir() if path.is_file())
    for name in names:
        shutil.copyfile(directory / name, out / name)
    return tuple(names)
