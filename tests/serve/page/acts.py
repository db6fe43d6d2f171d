"""What a person does on the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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


def hurry(page: Page) -> None:
    """What the page waits for on purpose comes twenty times as soon."""
    page.evaluate(
        """() => {
            const wait = window.setTimeout;
            window.setTimeout = (call, ms = 0, ...given) => wait(call, ms / 20, ...given);
        }"""
    )


def wait_for_result(page: Page) -> None:
    page.wait_for_selector("body[data-phase=done]", timeout=60_000)


def drop_and_draw(page: Page, scan: Path) -> None:
    """A scan, its result, the axial plane, and a stroke of the brush."""
    drop(page, scan)
    wait_for_result(page)
    page.keyboard.press("2")
    page.keyboard.press("b")
    draw(page, (0.3, 0.3), (0.4, 0.3))


def draw(page: Page, start: tuple[float, float], end: tuple[float, float], steps: int = 5) -> None:
    """One stroke over the canvas; places as shares of its width and height."""
    page.mouse.move(*on_canvas(page, start))
    page.mouse.down()
    page.mouse.move(*on_canvas(page, end), steps=steps)
    page.mouse.up()


def on_canvas(page: Page, place: tuple[float, float]) -> tuple[float, float]:
    """In pixels of the window; the place is shares of the canvas's width and height."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    return box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"]


def point(page: Page, place: tuple[float, float]) -> Any:
    """Puts the crosshair there, and returns where that is: (right, front, up) in millimetres as the page tells it."""
    page.mouse.click(*on_canvas(page, place))
    told = re.findall(r"([0-9.]+) ([RLAPSI])(?=,| mm)", page.inner_text("#place"))
    assert [letter in pair for (_, letter), pair in zip(told, ("RL", "AP", "SI"), strict=True)] == [True] * 3
    return np.array([float(number) * (1 if letter in "RAS" else -1) for number, letter in told])


def touch(page: Page, *steps: list[tuple[float, float]]) -> None:
    """Fingers on the screen, step by step; places as shares of the canvas. Down with the first, up after the last."""
    session = page.context.new_cdp_session(page)
    before = 0
    for places in [*steps, []]:
        points = [
            {"x": x, "y": y, "id": number} for number, (x, y) in enumerate(on_canvas(page, place) for place in places)
        ]
        kind = "touchStart" if len(points) > before else "touchMove" if len(points) == before else "touchEnd"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        before = len(points)
    session.detach()
