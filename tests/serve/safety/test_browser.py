"""A real Chromium: the page works behind all of the guard's checks, and pages of other sites get nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benchmarks.hostile_browser import REBINDING, attempts, other_site, rebound
from tests.serve.chromium import running_chromium
from tests.serve.page.acts import drop, wait_for_result
from tests.serve.running import Served, running

from unetr.serve.safety.tokens import new_token

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

SCAN = Path(str(files("unetr.jobs.demo") / "scan" / "scan.nii.gz"))
_LISTEN = """addEventListener("securitypolicyviolation", (event) =>
  console.error("POLICY " + event.violatedDirective + " " + event.blockedURI));"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(REBINDING) as browser:
        yield browser


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A server that wants a token, and the token."""
    folder = tmp_path_factory.mktemp("locked")
    token = new_token(folder / "tokens.json", "reading-room")
    with running(folder / "queue", tokens=folder / "tokens.json") as served:
        yield served, token


def logged_in(context: BrowserContext, address: str, token: str) -> None:
    page = context.new_page()
    page.goto(address)
    assert page.url.endswith("/login")
    page.get_by_label("Access token").fill("wrong")
    page.keyboard.press("Enter")
    assert "not known" in page.get_by_role("alert").inner_text()
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("body[data-phase=empty]")
    page.wait_for_load_state("networkidle")  # what the page itself loads late is not counted as another site's
    page.close()


def test_the_page_works_behind_a_login_under_its_policy(browser: Browser, locked: tuple[Served, str]) -> None:
    whole, token = locked
    address = str(whole.client.base_url)
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(_LISTEN)
    context.on("console", lambda message: complaints.append(message.text) if "POLICY" in message.text else None)
    logged_in(context, address, token)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-phase=empty]")
    drop(page, SCAN)
    wait_for_result(page)
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(re.compile("/login$"))
    context.close()
    assert complaints == []
    assert whole.client.get("/api/jobs").status_code == 401
    mine = {"authorization": f"Bearer {token}"}
    (job,) = whole.client.get("/api/jobs", headers=mine).json()["jobs"]
    assert job["state"] in ("written", "delivered")


def answered(whole: Served, token: str) -> set[str]:
    """Requests that were not refused so far, as the server counts them."""
    told = whole.client.get("/metrics", headers={"authorization": f"Bearer {token}"}).text
    lines = re.findall(r'^unetr_http_requests_total\{(.*status="[123].*) ([0-9]+)$', told, flags=re.M)
    return {f"{route} {count}" for route, count in lines if "/metrics" not in route}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_pages_of_other_sites_get_nothing_even_of_who_is_logged_in(
    browser: Browser, locked: tuple[Served, str], host: str
) -> None:
    """A page at another port of 127.0.0.1 is sent with the cookie; one at localhost is another site."""
    whole, token = locked
    address = str(whole.client.base_url)
    context = browser.new_context()
    logged_in(context, address, token)
    before = answered(whole, token)
    assert before
    with other_site() as port:
        found = attempts(context, f"http://{host}:{port}/", address)
    assert len(found) == 25
    assert {name: seen for name, seen in found.items() if seen not in ("", "opaque")} == {}
    assert answered(whole, token) - before == set()
    page = context.new_page()
    page.goto(address)
    assert not page.url.endswith("/login")  # nobody logged them out
    context.close()


def test_a_name_that_was_pointed_here_is_refused(browser: Browser, whole: Served) -> None:
    assert whole.client.get("/api/jobs").status_code == 200
    assert rebound(browser.new_context(), str(whole.client.base_url)) == 421
