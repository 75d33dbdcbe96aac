"""The web server over real HTTP: pages, JSON, health, and what it refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from ichor.catalogue import beats, outbox
from ichor.catalogue.engine import Catalogue
from ichor.metrics import NodeMetrics, counts_of
from tests.console.catalogue_of_outcomes import NAMES, PATIENT_NAME, alert_uid, study_uid
from tests.console.running_web import NIGHT, NIGHT_BASIC

if TYPE_CHECKING:
    from ichor.settings import Settings

OUTSIDE = re.compile(r"""(?:src|href|action)=["'](?!/)""")


def badge(page: str) -> str:
    """Give the class and words of the first badge on a page."""
    found = re.search(r'<span class="badge ([^"]+)">([^<]+)</span>', page)
    assert found is not None
    return f"{found.group(1)}: {found.group(2)}"


def test_worklist_shows_every_study(web: httpx.Client) -> None:
    """Every study stands on the worklist, under a banner that says what this is."""
    page = web.get("/").text
    assert all(study_uid(name) in page for name in NAMES)
    assert "Research use only" in page
    assert 'http-equiv="refresh"' in page


def test_outcomes_never_look_alike(web: httpx.Client) -> None:
    """Each outcome has words and a style of its own; none marked is not not analysed."""
    badges = {name: badge(web.get(f"/studies/{study_uid(name)}").text) for name in NAMES}
    assert badges == {
        "suspected": "suspected: SUSPECTED 15.2 mL",
        "small": "small: Small region marked, 0.3 mL",
        "none_marked": "none_marked: No region marked",
        "not_analysed": "not_analysed: NOT ANALYSED",
        "failed": "failed: FAILED",
        "receiving": "in_progress: Receiving",
    }


def test_none_marked_says_what_it_does_not_mean(web: httpx.Client) -> None:
    """A negative carries its limits on the worklist and on its page."""
    assert "does NOT exclude haemorrhage" in web.get("/").text
    assert "This does NOT exclude haemorrhage" in web.get(f"/studies/{study_uid('none_marked')}").text


def test_study_page_shows_result_and_timeline(web: httpx.Client) -> None:
    """The page of a study has headline, findings, picture, deliveries, alerts and timeline."""
    page = web.get(f"/studies/{study_uid('suspected')}").text
    for part in ("SUSPECTED intracranial haemorrhage", "Intraparenchymal", "overlay.png", "confirmed", "on-call"):
        assert part in page
    assert "result recorded" in page
    picture = web.get(f"/studies/{study_uid('suspected')}/overlay.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")


def test_pages_load_nothing_from_elsewhere(web: httpx.Client) -> None:
    """Pages link to this server only, and tell the browser to hold them to it."""
    for path in ("/", f"/studies/{study_uid('suspected')}", f"/alerts/{alert_uid('suspected')}", "/docs", "/nothing"):
        answer = web.get(path)
        assert OUTSIDE.search(answer.text) is None
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_names_of_patients_stay_in_the_catalogue(web: httpx.Client) -> None:
    """No page and no JSON carries a patient's name."""
    study = study_uid("suspected")
    for path in ("/", "/api/studies", f"/studies/{study}", f"/api/studies/{study}", "/metrics"):
        assert PATIENT_NAME not in web.get(path).text


def test_studies_as_json(web: httpx.Client) -> None:
    """The worklist as JSON, latest arrivals first, in pages."""
    entries = web.get("/api/studies").json()
    assert [entry["study_instance_uid"] for entry in entries] == [study_uid(name) for name in NAMES]
    assert entries[0]["outcome"] == "suspected"
    assert entries[0]["total_haemorrhage_ml"] == 15.2
    second = web.get("/api/studies", params={"limit": 1, "offset": 1}).json()
    assert [entry["outcome"] for entry in second] == ["small"]


def test_study_as_json(web: httpx.Client) -> None:
    """One study as JSON holds its result.json as it was written."""
    report = web.get(f"/api/studies/{study_uid('suspected')}").json()
    assert report["result"]["schema"] == 1
    assert report["result"]["findings"][0]["label"] == "IPH"
    assert [delivery["state"] for delivery in report["deliveries"]] == ["confirmed"]
    assert report["timeline"][0]["name"] == "study_receiving"


def test_unknown_study_is_404(web: httpx.Client) -> None:
    """A study that never came is not found, as a page and as JSON."""
    assert web.get("/studies/1.2.3").status_code == 404
    assert web.get("/api/studies/1.2.3").status_code == 404
    assert web.get("/studies/1.2.3/overlay.png").status_code == 404
    assert web.get("/studies/1.2.3/retry").status_code == 404
    assert web.post("/api/studies/1.2.3/retry", auth=NIGHT_BASIC).status_code == 404


def test_retry_makes_a_job(web: httpx.Client) -> None:
    """Asking again is accepted also while Redis is away; the reconciler wakes the worker."""
    answer = web.post(f"/api/studies/{study_uid('none_marked')}/retry", json={"force": True, **NIGHT})
    assert answer.status_code == 202
    report = web.get(f"/api/studies/{study_uid('none_marked')}").json()
    job = next(job for job in report["jobs"] if job["id"] == answer.json()["job_id"])
    assert job["kind"] == "analyse"
    assert job["force"] is True
    assert asked(report, "retry_asked") == [{"by": "Dr Night", "force": True}]


def test_force_may_stand_in_the_address(web: httpx.Client) -> None:
    """Who asks with HTTP Basic needs no body."""
    path = f"/api/studies/{study_uid('none_marked')}/retry"
    job_id = web.post(path, params={"force": "1"}, auth=NIGHT_BASIC).json()["job_id"]
    jobs = web.get(f"/api/studies/{study_uid('none_marked')}").json()["jobs"]
    assert next(job for job in jobs if job["id"] == job_id)["force"] is True


def asked(report: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Give what the timeline says of who asked for something."""
    return [event["detail"] for event in report["timeline"] if event["name"] == name]


def test_a_failed_delivery_is_sent_again(web: httpx.Client, settings: Settings) -> None:
    """The study's page offers it, a POST asks for it, and only for what failed."""
    uid = study_uid("suspected")
    (delivery,) = web.get(f"/api/studies/{uid}").json()["deliveries"]
    path = f"/api/studies/{uid}/deliveries/{delivery['id']}/resend"
    assert not delivery["resendable"]
    assert web.post(path, auth=NIGHT_BASIC).status_code == 409
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    with catalogue.write() as session:
        outbox.mark_delivery(session, delivery["id"], "failed", "Refused: seg: SOP class not supported, 0x0122.")
    catalogue.close()
    page = web.get(f"/studies/{uid}").text
    assert "SOP class not supported" in page
    (form,) = re.findall(r'href="(/studies/[^"]+/resend)"', page)
    assert f'action="{path}"' in web.get(form).text
    sent = web.post(path, data=NIGHT)
    assert (sent.status_code, sent.headers["location"]) == (303, f"/studies/{uid}")
    report = web.get(f"/api/studies/{uid}").json()
    assert [entry["state"] for entry in report["deliveries"]] == ["pending"]
    assert [detail["by"] for detail in asked(report, "resend_asked")] == ["Dr Night"]
    assert web.post(f"/api/studies/{uid}/deliveries/999/resend", auth=NIGHT_BASIC).status_code == 404
    assert web.get(f"/studies/{uid}/deliveries/999/resend").status_code == 404


def test_a_part_that_was_refused_is_named(web: httpx.Client, settings: Settings) -> None:
    """What the PACS does not take stands beside `confirmed`, in words, and may be sent again."""
    uid = study_uid("suspected")
    (delivery,) = web.get(f"/api/studies/{uid}").json()["deliveries"]
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    with catalogue.write() as session:
        (item,) = outbox.delivery(session, delivery["id"]).objects
        outbox.mark_object(session, delivery["id"], item.object_id, "failed", 0x0122)
        outbox.mark_delivery(session, delivery["id"], "confirmed", "Refused: summary: SOP class not supported, 0x0122.")
    catalogue.close()
    page = web.get(f"/studies/{uid}").text
    assert "confirmed</span>, without summary" in page
    assert "Refused: summary: SOP class not supported, 0x0122." in page
    (delivery,) = web.get(f"/api/studies/{uid}").json()["deliveries"]
    assert delivery["resendable"]
    assert delivery["objects"][0]["reason"] == "SOP class not supported, 0x0122"


def test_nonsense_is_refused_plainly(web: httpx.Client) -> None:
    """Bodies that are neither JSON objects nor forms, or too large, are client errors."""
    path = f"/api/alerts/{alert_uid('suspected')}/acknowledge"
    assert web.post(path, content=b"{nonsense").status_code == 422
    assert web.post(path, json=["by"]).status_code == 422
    assert web.post(path, content=b"x" * 5000).status_code == 413
    assert web.get("/api/studies", params={"limit": 0}).status_code == 422


def test_alive_but_not_ready_alone(web: httpx.Client) -> None:
    """A web server without the other parts is alive and says which parts are missing."""
    alive = web.get("/healthz")
    assert (alive.status_code, alive.json()["status"]) == (200, "alive")
    assert 0 <= alive.json()["last_result_age_s"] < 60
    answer = web.get("/readyz")
    assert answer.status_code == 503
    parts = answer.json()["parts"]
    assert parts["catalogue"] == "ok"
    assert {name for name, state in parts.items() if state != "ok"} == {
        "listener",
        "redis",
        "worker_analyse",
        "worker_deliver",
    }


def test_metrics_count_the_catalogue(web: httpx.Client) -> None:
    """Prometheus sees studies by state and the space left."""
    text = web.get("/metrics").text
    assert 'ichor_studies{state="analysed"} 3.0' in text
    assert 'ichor_alerts{state="sent"} 1.0' in text
    assert "ichor_disk_free_bytes" in text


def test_dicomweb_is_mounted(web: httpx.Client) -> None:
    """STOW-RS answers under /dicom-web: a body that is no multipart is refused, not unknown."""
    answer = web.post("/dicom-web/studies", content=b"x", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_interface_is_described(web: httpx.Client) -> None:
    """`/docs` and `/openapi.json` describe the interface, without help from the Internet."""
    assert "/api/studies/{uid}/retry" in web.get("/docs").text
    assert "/api/alerts/{alert_id}/acknowledge" in web.get("/openapi.json").json()["paths"]


def test_counts_of_other_processes_are_in_the_metrics(web: httpx.Client, settings: Settings) -> None:
    """What listener and workers send with their heartbeats is shown under their names."""
    metrics = NodeMetrics()
    metrics.jobs_ended.labels("deliver", "done").inc(3)
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    with catalogue.write() as session:
        beats.beat(session, "host:1", "deliver", {"counts": counts_of(metrics.registry)})
    catalogue.close()
    shown = web.get("/metrics").text
    assert 'ichor_jobs_ended_total{kind="deliver",outcome="done",process="host:1"} 3.0' in shown


def test_what_comes_by_stow_is_in_the_metrics(web: httpx.Client) -> None:
    """The web server's own counts too; and a scraper can read the whole."""
    content = b"--b\r\nContent-Type: application/dicom\r\n\r\nno DICOM\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    assert web.post("/dicom-web/studies", content=content, headers={"Content-Type": kind}).status_code == 400
    answer = web.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    (sample,) = families["ichor_instances_received"].samples
    assert (sample.labels["by"], sample.labels["outcome"], sample.value) == ("stow", "refused", 1.0)
