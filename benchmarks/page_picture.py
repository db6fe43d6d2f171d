"""Draws the page's pictures: those of the documentation, and every state to be looked at.

    uv run python benchmarks/page_picture.py [--states FOLDER]

Without --states: docs/page.png, docs/page-narrow.png and docs/images/page-correcting.png, of a real server and what
its model finds in the demonstration's scan. With it: each state of the page as a PNG file in FOLDER, 1280 and 390
pixels wide, dark and light; there what a server says is made up, so that each state stands still. Both in a real
Chromium.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.serve.chromium import running_chromium  # noqa: E402
from tests.serve.page.acts import draw, wait_for_result  # noqa: E402
from tests.serve.page.stub import JOB, ORIGIN, SCAN, SUMMARY, Stub, demo_stub  # noqa: E402
from tests.serve.running import running  # noqa: E402

FILE = ROOT / "src" / "unetr" / "jobs" / "demo" / "scan" / "scan.nii.gz"
WIDE, NARROW = (1280, 800), (390, 844)
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
_COLOURS = 160
# Volumes are drawn in software.
_SETTLED_MS = 1500


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--states", type=Path)
    folder = parser.parse_args().states
    with running_chromium() as browser:
        if folder is None:
            documentation(browser)
        else:
            states(browser, folder)


def documentation(browser: Browser) -> None:
    """What a person gets."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "queue") as served:
        address = str(served.client.base_url)
        for name, size, act in DOCS:
            with opened(browser, size, "dark") as page:
                page.goto(address)
                ready(page)
                act(page)
                picture(page, ROOT / "docs" / name)


def states(browser: Browser, folder: Path) -> None:
    """What a person may come to see."""
    for state, act in STATES.items():
        for size in (WIDE, NARROW):
            for scheme in SCHEMES:
                stub = demo_stub()
                with stubbed(browser, stub, size, scheme) as page:
                    act(page, stub)
                    picture(page, folder / f"{state}-{size[0]}-{scheme}.png")


@contextmanager
def opened(browser: Browser, size: tuple[int, int], scheme: Literal["dark", "light"]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    yield context.new_page()
    context.close()


@contextmanager
def stubbed(
    browser: Browser, stub: Stub, size: tuple[int, int], scheme: Literal["dark", "light"] = "dark"
) -> Iterator[Page]:
    """The page with a server whose answers are made up."""
    with opened(browser, size, scheme) as page:
        page.route("**/*", stub.answer)
        page.goto(f"{ORIGIN}/")
        ready(page)
        yield page


def ready(page: Page) -> None:
    page.wait_for_selector("body[data-phase=empty] .front-card")


def picture(page: Page, path: Path) -> None:
    page.wait_for_timeout(_SETTLED_MS)
    shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    shot.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size} bytes", flush=True)


def segment(page: Page) -> None:
    page.set_input_files("#files", FILE)
    wait_for_result(page)


def correct(page: Page) -> None:
    segment(page)
    if page.is_visible(".bottom"):
        page.click(".bottom [data-pane=correct]")
    page.keyboard.press("b")
    draw(page, (0.15, 0.7), (0.24, 0.74))


# Of the documentation: file, size, what a person does.
DOCS = (
    ("page.png", WIDE, segment),
    ("page-narrow.png", NARROW, segment),
    ("images/page-correcting.png", WIDE, correct),
)


def empty(page: Page, stub: Stub) -> None:
    page.keyboard.press("Tab")


def take(page: Page, seen: str) -> None:
    page.set_input_files("#files", FILE)
    page.wait_for_selector(seen)


def result(page: Page, stub: Stub) -> None:
    segment(page)


def warned(page: Page, stub: Stub) -> None:
    reason = "voxel spacing: 3.6 mm up-down (training scans 1 mm, expected 0.33 to 1.5 mm)"
    stub.summary = {**SUMMARY, "verdict": {"state": "warned", "warnings": [reason], "notes": []}}
    result(page, stub)


def correcting(page: Page, stub: Stub) -> None:
    stub.kind = "dicom"
    correct(page)


def running_job(page: Page, stub: Stub) -> None:
    stub.state = "running"
    told = ('state\ndata: {"state":"running"}', 'progress\ndata: {"done":11,"of":27}')
    stub.events = "retry: 100000\n" + "".join(f"event: {one}\n\n" for one in told)
    take(page, "#front:has-text('11 of 27')")
    page.wait_for_selector("#toolbar:not([hidden])")


def refused(page: Page, stub: Stub) -> None:
    error = {"kind": "InputError", "message": "the upload is no scan; expected NIfTI, NRRD, MHA or DICOM", "hint": None}
    stub.refuse[f"GET api/scans/{SCAN}"] = (422, {}, json.dumps({"error": error}))
    take(page, "#front [role=alert]")


def failed(page: Page, stub: Stub) -> None:
    stub.state = "failed"
    stub.error = {"kind": "MachineError", "message": "the engine ended without a word; it was tried 3 times"}
    take(page, "#front [role=alert]")


def full(page: Page, stub: Stub) -> None:
    error = {"kind": "QueueFullError", "message": "32 jobs wait already", "hint": None}
    stub.refuse["POST api/jobs"] = (429, {"Retry-After": "30"}, json.dumps({"error": error}))
    take(page, "#front:has-text('The server is busy')")


def no_orientation(page: Page, stub: Stub) -> None:
    stub.needs = ["assume_affine"]
    take(page, "#front:has-text('no orientation')")


def jobs(page: Page, stub: Stub) -> None:
    ends = {"written": None, "failed": {"message": "x"}, "running": None, "cancelled": None}
    for number, (state, error) in enumerate(ends.items()):
        told = stub.job(state=state, error=error, id=f"{number}" * 32, results=[])
        stub.jobs.append(told if state == "written" else told | {"summary": {}})
    stub.jobs[0]["id"] = JOB
    result(page, stub)
    if page.is_visible(".bottom"):
        page.click(".bottom [data-pane=jobs]")


def undrawn(page: Page, stub: Stub) -> None:
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")
    page.reload()
    page.wait_for_selector("#front:has-text('WebGL2')")
    result(page, stub)


def help_shown(page: Page, stub: Stub) -> None:
    page.keyboard.press("?")


STATES: dict[str, Callable[[Page, Stub], None]] = {
    "empty": empty,
    "running": running_job,
    "result": result,
    "warned": warned,
    "correcting": correcting,
    "jobs": jobs,
    "refused": refused,
    "failed": failed,
    "full": full,
    "no-orientation": no_orientation,
    "undrawn": undrawn,
    "help": help_shown,
}


if __name__ == "__main__":
    main()
