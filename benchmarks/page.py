"""The server's page in a real Chromium: how soon a dropped scan is seen with labels, and whether corrections are exact.

    uv run python benchmarks/page.py [--pictures FOLDER]

First view: from the drop of the hippocampus scan onto the page of a real server until its labels are drawn, 1280 x 800,
WebGL2 in software. The first scan also waits for the model to be loaded. Orders: a scan and labels whose axes point in
six ways, oblique and anisotropic, are corrected with one stroke; the saved file is compared voxel by voxel with what a
brush of nibabel and numpy makes of it. --pictures also writes the page's states as PNG files, 1280 and 390 pixels wide.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page

import unetr

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.serve.chromium import running_chromium  # noqa: E402
from tests.serve.page.acts import draw, drop, point, wait_for_result  # noqa: E402
from tests.serve.page.scans import gunzipped, oriented, stroked, voxels  # noqa: E402
from tests.serve.page.stub import ORIGIN, SUMMARY, Stub, demo_stub  # noqa: E402
from tests.serve.running import running  # noqa: E402

SCAN = Path(unetr.__file__).parent / "jobs" / "demo" / "scan" / "scan.nii.gz"
ORDERS = ("RAS", "LPS", "LAS", "AIR", "SPL", "PRI")
START, END = (0.42, 0.42), (0.58, 0.55)
BRUSH_MM = 4.0
_COLOURS = 160


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path)
    pictures = parser.parse_args().pictures
    with running_chromium() as browser, tempfile.TemporaryDirectory() as folder:
        print("\n| first view of the hippocampus scan | s |\n|---|---|")
        for what, seconds in first_views(browser, Path(folder)):
            print(f"| {what} | {seconds:.1f} |", flush=True)
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            take_pictures(browser, pictures)
        print("| order of the file | changed by the stroke | wrong voxels | header kept |\n|---|---|---|---|")
        for order in ORDERS:
            print(f"| {order} | " + " | ".join(map(str, corrected(browser, order))) + " |", flush=True)


def corrected(browser: Browser, order: str) -> tuple[int, int, str]:
    """Voxels that one stroke changed, those of the whole file that are wrong, and whether the header came back.

    Right is what a brush of nibabel and numpy makes of the same stroke.
    """
    view, labels = oriented(order)
    stub = Stub(view=view, labels=labels)
    with stubbed(browser, stub, 800, 480) as page:
        page.set_input_files("#files", SCAN)
        wait_for_result(page)
        page.keyboard.press("2")
        start, end = point(page, START), point(page, END)
        page.keyboard.press("b")
        draw(page, START, END, steps=1)
        with page.expect_response("**/corrections"):
            page.click("#save-correction")
        page.wait_for_selector("text=Saved as correction 1.")
    before, after = voxels(labels), voxels(stub.corrections[0])
    wrong = np.count_nonzero(after != stroked(labels, start, end, BRUSH_MM, 1))
    kept = gunzipped(stub.corrections[0])[:352] == gunzipped(labels)[:352]
    return np.count_nonzero(before != after), wrong, "yes" if kept else "no"


def first_views(browser: Browser, folder: Path) -> Iterator[tuple[str, float]]:
    """The first scan of a server that has just started, and others after it."""
    with running(folder / "queue") as served:
        for what in ("the first after the start", "another", "a third"):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(str(served.client.base_url))
            page.wait_for_selector("body[data-phase=empty] .front-card")
            other = folder / f"{what.replace(' ', '-')}.nii.gz"
            image = nibabel.load(SCAN)
            # The same voxels would be the same job: each has a corner of its own.
            data = np.asarray(image.dataobj).copy()
            data[0, 0, 0] += len(what)
            nibabel.save(nibabel.Nifti1Image(data, image.affine), other)
            started = time.monotonic()
            drop(page, other)
            wait_for_result(page)
            # Two pictures of the screen later, the labels have been drawn.
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            yield what, time.monotonic() - started
            page.close()


@contextmanager
def stubbed(browser: Browser, stub: Stub, width: int, height: int, scheme: str = "dark") -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="light" if scheme == "light" else "dark"
    )
    page = context.new_page()
    page.route("**/*", stub.answer)
    page.goto(f"{ORIGIN}/")
    page.wait_for_selector("body[data-phase=empty] .front-card")
    yield page
    context.close()


def take_pictures(browser: Browser, folder: Path) -> None:
    """The states that pages about the server show."""
    for name, (prepare, width, height) in _states().items():
        stub = demo_stub()
        with stubbed(browser, stub, width, height) as page:
            prepare(page, stub)
            page.wait_for_timeout(1000)
            shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
            path = folder / f"page-{name}.png"
            shot.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
            print(f"{path}: {path.stat().st_size} bytes", flush=True)


def _states() -> dict[str, tuple[Callable[[Page, Stub], None], int, int]]:
    def result(page: Page, stub: Stub) -> None:
        page.set_input_files("#files", SCAN)
        wait_for_result(page)

    def warned(page: Page, stub: Stub) -> None:
        reason = "voxel spacing: 3.6 mm up-down (training scans 1 mm, expected 0.33 to 1.5 mm)"
        stub.summary = {**SUMMARY, "verdict": {"state": "warned", "warnings": [reason], "notes": []}}
        result(page, stub)

    def correcting(page: Page, stub: Stub) -> None:
        stub.kind = "dicom"
        result(page, stub)
        page.keyboard.press("b")
        draw(page, (0.15, 0.7), (0.24, 0.74))

    def running_job(page: Page, stub: Stub) -> None:
        stub.state = "running"
        told = ('state\ndata: {"state":"running"}', 'progress\ndata: {"done":11,"of":27}')
        stub.events = "retry: 100000\n" + "".join(f"event: {one}\n\n" for one in told)
        page.set_input_files("#files", SCAN)
        page.wait_for_selector("#front:has-text('11 of 27')")
        page.wait_for_selector("#toolbar:not([hidden])")

    return {
        "result": (result, 1280, 800),
        "warned": (warned, 1280, 800),
        "correcting": (correcting, 1280, 800),
        "running": (running_job, 1280, 800),
        "narrow": (result, 390, 844),
    }


if __name__ == "__main__":
    main()
