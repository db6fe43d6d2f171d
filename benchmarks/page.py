"""The server's page in a real Chromium: how soon a dropped scan is seen with labels, and whether corrections are exact.

    uv run python benchmarks/page.py [--large]

First view: from the drop of the hippocampus scan onto the page of a real server until its labels are drawn, 1280 x 800,
WebGL2 in software. The first scan also waits for the model to be loaded. Orders: a scan and labels whose axes point in
six ways, oblique and anisotropic, are corrected with one stroke; the saved file is compared voxel by voxel with what a
brush of nibabel and numpy makes of it. --large also measures a scan of 512 x 512 x 300, which takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
from playwright.sync_api import Browser

import unetr

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.page_picture import stubbed  # noqa: E402
from benchmarks.server_process import children  # noqa: E402
from tests.serve.chromium import running_chromium  # noqa: E402
from tests.serve.page.acts import draw, drop, point, wait_for_result  # noqa: E402
from tests.serve.page.scans import gunzipped, oriented, stroked, voxels  # noqa: E402
from tests.serve.page.stub import Stub  # noqa: E402
from tests.serve.running import running  # noqa: E402

SCAN = Path(unetr.__file__).parent / "jobs" / "demo" / "scan" / "scan.nii.gz"
ORDERS = ("RAS", "LPS", "LAS", "AIR", "SPL", "PRI")
START, END = (0.42, 0.42), (0.58, 0.55)
BRUSH_MM = 4.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true")
    large = parser.parse_args().large
    with running_chromium() as browser, tempfile.TemporaryDirectory() as folder:
        print("\n| first view of the hippocampus scan | s |\n|---|---|")
        for what, seconds in first_views(browser, Path(folder)):
            print(f"| {what} | {seconds:.1f} |", flush=True)
        if large:
            print("\n| scan of 512 x 512 x 300, drawn without a graphics card | |\n|---|---|")
            for what, figure in large_view(browser, Path(folder)):
                print(f"| {what} | {figure:.0f} |", flush=True)
        print("| order of the file | changed by the stroke | wrong voxels | header kept |\n|---|---|---|---|")
        for order in ORDERS:
            print(f"| {order} | " + " | ".join(map(str, corrected(browser, order))) + " |", flush=True)


def corrected(browser: Browser, order: str) -> tuple[int, int, str]:
    """Voxels that one stroke changed, those of the whole file that are wrong, and whether the header came back.

    Right is what a brush of nibabel and numpy makes of the same stroke.
    """
    view, labels = oriented(order)
    stub = Stub(view=view, labels=labels)
    with stubbed(browser, stub, (800, 480)) as page:
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


def large_view(browser: Browser, folder: Path) -> Iterator[tuple[str, float]]:
    """A scan of 512 x 512 x 300 in int16: seconds from the choice of the file, and megabytes of Chromium."""
    path = folder / "large.nii"
    x, y, z = np.ogrid[-1:1:512j, -1:1:512j, -1:1:300j]
    data = np.full((512, 512, 300), -1000, np.int16)
    data[np.broadcast_to(x**2 / 0.6 + y**2 / 0.4 < 1, data.shape)] = 40
    data[x**2 + y**2 + z**2 < 0.1] = 120
    nibabel.save(nibabel.Nifti1Image(data, np.diag([0.7, 0.7, 1.0, 1.0])), path)
    with running(folder / "large") as served:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(str(served.client.base_url))
        page.wait_for_selector("body[data-phase=empty] .front-card")
        before = chromium_mb()
        started = time.monotonic()
        page.set_input_files("#files", path)
        page.wait_for_selector("#front:has-text('Cancel')")
        page.wait_for_selector("#toolbar:not([hidden])", timeout=300_000)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        yield "time until it is seen, s", time.monotonic() - started
        yield "more memory of Chromium, MB", chromium_mb() - before
        page.click("#front button:text('Cancel')")
        page.close()


def chromium_mb() -> float:
    """Of all processes of Chromium that descend from this one; what several share counts once."""
    found, todo = [], [os.getpid()]
    while todo:
        below = children(todo.pop())
        todo += below
        found += [one for one in below if "chromium" in Path(f"/proc/{one}/cmdline").read_text()]
    lines = [line for one in found for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


if __name__ == "__main__":
    main()
