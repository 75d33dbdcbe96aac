"""A model that tells five subtypes apart goes through the node: SEG, SR and alert name what bled, and on which side."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from ichor.clock import utc_now
from models.phantoms import PhantomPlan, parse_lesion, write_phantom
from tests.integration.node import Node, destination, webhook
from tests.peers.orthanc import Orthanc
from tests.peers.programs import LOOPBACK, require
from tests.peers.webhook import WebhookServer

MODEL = "phantom-subtypes"
BLEEDS = {"IPH": ("iph:16:right", "right"), "SDH": ("sdh:24:left", "left"), "IVH": ("ivh:9", None)}
CODES = {"IPH": "274100004", "SDH": "35486000", "IVH": "1386000"}
"""What the vocabulary says of each (SNOMED CT); blood in the ventricles is told by its region."""
SMALL_ML = 1.0
"""A voxel here and there of another type is what small networks do."""
pytestmark = pytest.mark.integration


def objects(orthanc: Orthanc) -> dict[str, pydicom.Dataset]:
    """Give what Orthanc holds, one object of each modality."""
    found = [pydicom.dcmread(BytesIO(orthanc.file(name))) for name in orthanc.instances().values()]
    return {str(dataset.Modality): dataset for dataset in found}


def codes_in(dataset: pydicom.Dataset) -> set[str]:
    """Give the code values anywhere in an SR's tree."""
    codes: set[str] = set()
    dataset.walk(lambda _, element: codes.add(str(element.value)) if element.keyword == "CodeValue" else None)
    return codes


@pytest.mark.timeout(300)
def test_five_subtypes_reach_pacs_and_alert(
    short_dir: Path, tmp_path: Path, orthanc: Orthanc, webhook_server: WebhookServer
) -> None:
    """Each bleed of a phantom is a segment, a measurement and a finding of the alert under its own name."""
    lesions = tuple(parse_lesion(lesion) for lesion, _ in BLEEDS.values())
    plan = PhantomPlan(
        lesions=lesions, seed=11, rows=256, columns=256, pixel_spacing_mm=0.9, fresh_uids=True, acquired_at=utc_now()
    )
    truth = write_phantom(tmp_path, plan)
    toml = destination("pacs", orthanc.host, orthanc.dicom_port, orthanc.ae_title) + webhook(webhook_server.url)
    node = Node(short_dir, extra_toml=toml, model=MODEL, members=1)
    with ExitStack() as stack:
        stack.callback(node.stop)
        node.start()
        paths = sorted(str(path) for path in (tmp_path / "dicom").glob("*.dcm"))
        command = [require("dcmsend"), "-aec", "ICHOR", LOOPBACK, str(node.dicom_port), *paths]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        node.wait(lambda: orthanc.modalities() == {"SEG": 1, "SR": 1, "OT": 1}, 120)
        node.wait(lambda: len(webhook_server.accepted()) == 1, 60)

    true_ml = {lesion.kind.upper(): lesion.sampled_ml for lesion in truth.lesions}
    alert = json.loads(webhook_server.accepted()[0].body)
    findings = {finding["label"]: finding for finding in alert["findings"]}
    assert {label for label, finding in findings.items() if finding["volume_ml"] >= SMALL_ML} == set(BLEEDS)
    for label, (_, side) in BLEEDS.items():
        assert findings[label]["volume_ml"] == pytest.approx(true_ml[label], rel=0.2)
        assert side is None or findings[label]["laterality"] == side

    found = objects(orthanc)
    segments = {str(one.SegmentLabel): one for one in found["SEG"].SegmentSequence}
    assert len(segments) == len(findings)
    assert {"Intraparenchymal", "Subdural", "Intraventricular"} <= set(segments)
    assert set(CODES.values()) <= codes_in(found["SR"])
