"""What people may ask of the node over HTTP: only users, by POST, from the node's own pages or by program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi.routing import APIRoute

from console.alerts import alerts_named
from console.web import api
from ichor.catalogue import outbox
from ichor.catalogue.engine import Catalogue
from tests.console.catalogue_of_outcomes import alert_uid, fill, study_uid
from tests.console.running_web import NIGHT, PASSWORD, running_web

if TYPE_CHECKING:
    from pathlib import Path

    from ichor.settings import Settings


def test_looking_at_an_alert_acknowledges_nothing(web: httpx.Client) -> None:
    """A GET shows a page (mail scanners follow links); only a POST by a user acknowledges."""
    uid = alert_uid("suspected")
    for path in (f"/alerts/{uid}", f"/api/alerts/{uid}/acknowledge"):
        assert "Acknowledge" in web.get(path, params=NIGHT).text
    assert state_of_the_alert(web) == ("sent", "")


def state_of_the_alert(web: httpx.Client) -> tuple[str, str]:
    """Give the state of the only alert, and who acknowledged it."""
    (alert,) = web.get(f"/api/studies/{study_uid('suspected')}").json()["alerts"]
    return alert["state"], alert["acknowledged_by"]


def places_of_posts(web: httpx.Client) -> tuple[str, ...]:
    """Give the address of everything that a person can ask for."""
    uid = study_uid("suspected")
    (delivery,) = web.get(f"/api/studies/{uid}").json()["deliveries"]
    resend = f"/api/studies/{uid}/deliveries/{delivery['id']}/resend"
    return f"/api/alerts/{alert_uid('suspected')}/acknowledge", f"/api/studies/{uid}/retry", resend


def what_is_known(web: httpx.Client) -> dict[str, Any]:
    """Give all that the node knows of the study whose alert, analysis and delivery are asked for."""
    known = web.get(f"/api/studies/{study_uid('suspected')}").json()
    assert isinstance(known, dict)
    return known


def test_everything_that_is_posted_asks_for_a_user() -> None:
    """A new POST of the interface joins the list below, or takes no orders from people (STOW-RS has its own tokens)."""
    posts = {
        route.path for route in api.router.routes if isinstance(route, APIRoute) and "POST" in (route.methods or ())
    }
    assert posts == {
        "/api/alerts/{alert_id}/acknowledge",
        "/api/studies/{uid}/retry",
        "/api/studies/{uid}/deliveries/{delivery_id}/resend",
    }


@pytest.mark.parametrize("number", range(3))
def test_only_users_ask(web: httpx.Client, number: int) -> None:
    """Without a name, with another password, as nobody known: refused, and never by what stands in the address."""
    path = places_of_posts(web)[number]
    before = what_is_known(web)
    wrong = {"by": "Dr Night", "password": "something else"}
    for refused in (
        web.post(path),
        web.post(path, params=NIGHT),
        web.post(path, json={"by": "Dr Night"}),
        web.post(path, json=wrong),
        web.post(path, json={"by": "Dr Nobody", "password": PASSWORD}),
        web.post(path, auth=("Dr Night", "something else")),
    ):
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        assert PASSWORD not in refused.text
    page = web.post(path, data=wrong)
    assert page.status_code == 403  # no dialogue of the browser's own
    assert "www-authenticate" not in page.headers
    assert "Name or password is wrong" in page.text
    assert f'action="{path}"' in page.text
    assert "something else" not in page.text
    assert what_is_known(web) == before


def test_first_acknowledgement_stands(web: httpx.Client) -> None:
    """Who acknowledged first stays written, under the name of the settings; programs may use HTTP Basic."""
    uid = alert_uid("suspected")
    first = web.post(f"/api/alerts/{uid}/acknowledge", auth=("Dr Night", PASSWORD))
    assert first.status_code == 200
    assert first.json()["state"] == "acknowledged"
    second = web.post(f"/api/alerts/{uid}/acknowledge", json={"by": "Dr Day", "password": PASSWORD})
    assert second.json()["acknowledged_by"] == "Dr Night"
    assert web.post("/api/alerts/2.25.1/acknowledge", json=NIGHT).status_code == 404


def test_guessing_ends(web: httpx.Client) -> None:
    """After a few wrong passwords for a name even the right one has to wait; other users do not."""
    path = f"/api/alerts/{alert_uid('suspected')}/acknowledge"
    answers = [web.post(path, json={"by": "Dr Night", "password": f"guess {n}"}).status_code for n in range(9)]
    assert answers == [401] * 8 + [429]
    assert web.post(path, json=NIGHT).status_code == 429
    assert web.post(path, json={"by": "Dr Day", "password": PASSWORD}).status_code == 200


def test_without_users_nobody_asks(settings: Settings, tmp_path: Path) -> None:
    """A node whose settings name no users says so instead of taking any name."""
    settings.data_dir.mkdir()
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    fill(catalogue, tmp_path / "files")
    alone = settings.model_copy(update={"users": ()})
    with running_web(alone, catalogue) as address, httpx.Client(base_url=address, trust_env=False) as client:
        before = what_is_known(client)
        for path in places_of_posts(client):
            assert client.post(path, json=NIGHT).status_code == 403
            page = client.post(path, data=NIGHT)
            assert page.status_code == 403
            assert "the settings name no users" in page.text
        assert what_is_known(client) == before
        for path in (f"/alerts/{alert_uid('suspected')}", f"/studies/{study_uid('suspected')}/retry"):
            page = client.get(path)
            assert "the settings name no users" in page.text
            assert "<form" not in page.text
    catalogue.close()


def test_button_of_a_page_leads_back_to_the_page(web: httpx.Client) -> None:
    """A form's POST ends on the study's page."""
    answer = web.post(f"/api/alerts/{alert_uid('suspected')}/acknowledge", data=NIGHT)
    assert answer.status_code == 303
    assert "Dr Night" in web.get(answer.headers["location"]).text
    assert "Acknowledged by Dr Night" in web.get(f"/alerts/{alert_uid('suspected')}").text


def test_an_alert_that_was_withdrawn_says_so(web: httpx.Client, settings: Settings) -> None:
    """Whoever follows an old link sees that it no longer stands, and where to look."""
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    with catalogue.write() as session:
        (row,) = alerts_named(session, alert_uid("suspected"))
        outbox.mark_alert(session, row.id, "withdrawn", "Replaced by a later result.")
    catalogue.close()
    page = web.get(f"/alerts/{alert_uid('suspected')}").text
    assert "no longer stands: Replaced by a later result." in page
    assert web.post(f"/api/alerts/{alert_uid('suspected')}/acknowledge", json=NIGHT).status_code == 200
    assert state_of_the_alert(web) == ("withdrawn", "Dr Night")
    assert "no longer stands" in web.get(f"/alerts/{alert_uid('suspected')}").text
    assert f'href="/studies/{study_uid("suspected")}"' in page
    assert "Replaced by a later result." in web.get(f"/studies/{study_uid('suspected')}").text


def test_other_sites_cannot_press_buttons(web: httpx.Client) -> None:
    """A page of another origin can ask for nothing, nor reach the server under another name."""
    before = what_is_known(web)
    path = places_of_posts(web)[0]
    for place in places_of_posts(web):
        foreign = web.post(place, data=NIGHT, headers={"Origin": "https://elsewhere.example"})
        assert foreign.status_code == 403
    assert what_is_known(web) == before
    assert web.get("/api/studies", headers={"Host": "elsewhere.example"}).status_code == 400
    assert web.post(path, json=NIGHT, headers={"Origin": str(web.base_url).rstrip("/")}).status_code == 200


def test_a_proxy_in_front_is_no_other_site(settings: Settings, tmp_path: Path) -> None:
    """Behind the address of `http.public_url` people acknowledge, whether the proxy passes the Host name on or not."""
    known = {"public_url": "https://ichor.hospital.example"}
    behind = settings.model_copy(update={"http": settings.http.model_copy(update=known)})
    behind.data_dir.mkdir()
    catalogue = Catalogue.open(behind.resolved_catalogue_url)
    fill(catalogue, tmp_path / "files")
    path = f"/api/alerts/{alert_uid('suspected')}/acknowledge"
    with running_web(behind, catalogue) as address, httpx.Client(base_url=address, trust_env=False) as client:
        for host in ("ichor.hospital.example", client.base_url.netloc.decode()):
            own = {"Host": host, "Origin": "https://ichor.hospital.example"}
            assert client.get("/", headers={"Host": host}).status_code == 200
            assert client.post(path, data=NIGHT, headers=own).status_code == 303
            for origin in ("https://elsewhere.example", "http://ichor.hospital.example:81", "null"):
                assert client.post(path, data=NIGHT, headers=own | {"Origin": origin}).status_code == 403
        assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 400
    catalogue.close()
