"""A real Chromium, one for all tests here, and pages in it that must not complain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.serve.chromium import running_chromium
from tests.serve.page.stub import ORIGIN, Stub

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

# A note of the software renderer that draws here in place of a graphics card.
_OF_NO_CONCERN = "GPU stall due to ReadPixels"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the session: while it is there, no other test of the process can run an event loop of its own."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A file to drop, named after a patient; the stub does not look into it."""
    path = tmp_path / "Doe^Jane.nii.gz"
    path.write_bytes(b"any scan")
    return path


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page over a stub. At the end, nothing was complained of and nobody else was asked."""
    with ExitStack() as closing:
        complaints: list[str] = []

        def opened(stub: Stub, *, allowed: str | None = None, width: int = 800, height: int = 480, **more: Any) -> Page:
            """allowed: what the console may say, such as of a request that the stub refuses."""
            context = browser.new_context(viewport={"width": width, "height": height}, **more)
            closing.callback(context.close)
            page = context.new_page()

            def hear(message: ConsoleMessage) -> None:
                if _OF_NO_CONCERN not in message.text and not (allowed and allowed in message.text):
                    complaints.append(f"{message.type}: {message.text}")

            page.on("console", hear)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: _ask(request.url, complaints))
            page.route("**/*", stub.answer)
            page.goto(f"{ORIGIN}/")
            page.wait_for_selector("body[data-phase=empty] .front-card")
            return page

        yield opened
        assert complaints == []


def _ask(url: str, complaints: list[str]) -> None:
    if not url.startswith((f"{ORIGIN}/", "data:image/", "blob:")):
        complaints.append(f"asked elsewhere: {url[:200]}")
