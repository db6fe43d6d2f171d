"""What a person does on the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

_COPY = 1


def drop(page: Page, *paths: Path) -> None:
    """Drops files or folders from the desktop onto the middle of the page, as the browser sees it."""
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": _COPY}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 240, "data": data})
    session.detach()


def wait_for_result(page: Page) -> None:
    page.wait_for_selector("body[data-phase=done]", timeout=60_000)


def draw(page: Page, start: tuple[float, float], end: tuple[float, float], steps: int = 5) -> None:
    """One stroke over the canvas; places as shares of its width and height."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None

    def at(place: tuple[float, float]) -> tuple[float, float]:
        return box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"]

    page.mouse.move(*at(start))
    page.mouse.down()
    page.mouse.move(*at(end), steps=steps)
    page.mouse.up()
