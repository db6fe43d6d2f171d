"""Ways through the page other than the straight one: stopped, cut off, logged out, too large, several channels."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from tests.serve.page.acts import drop, wait_for_result
from tests.serve.page.stub import JOB, MODEL, Stub, demo_stub

if TYPE_CHECKING:
    from playwright.sync_api import Page

    OpenPage = Callable[..., Page]


def events(*told: tuple[str, dict[str, object]], retry_ms: int = 100, number: int | None = None) -> str:
    lines = [
        f"event: {kind}\ndata: {json.dumps(data)}\n" + (f"id: {number}\n" if number else "") for kind, data in told
    ]
    return f"retry: {retry_ms}\n" + "".join(f"{one}\n" for one in lines)


def wait_for_listening(page: Page, stub: Stub, times: int) -> None:
    """Until the page has asked for events that often."""
    deadline = time.monotonic() + 15
    while stub.listened < times:
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def test_a_stopped_job_says_so_until_it_has_stopped(open_page: OpenPage, scan: Path) -> None:
    """Its last windows are told meanwhile, which must not look as if nobody had asked. Before, it waited for room."""
    stub = demo_stub(state="running")
    stub.events = events(("state", {"state": "ready", "reason": "the disk has no room; free space there"}))
    page = open_page(stub)
    drop(page, scan)
    page.wait_for_selector("#front:has-text('Waiting for room'):has-text('The disk has no room; free space there.')")
    stub.events = events(("state", {"state": "running"}), ("progress", {"done": 3, "of": 9}))
    page.wait_for_selector("#front:has-text('3 of 9 windows')")
    page.click("#front button:text('Cancel')")
    page.wait_for_selector("#front:has-text('Stopping')")
    wait_for_listening(page, stub, stub.listened + 2)
    assert "Stopping" in page.inner_text("#front")
    stub.events = events(("end", stub.job(state="cancelled")))
    page.wait_for_selector("#front:has-text('Cancelled')")
    stub.state, stub.events = "written", None
    page.click("#front button:text('Segment again')")
    wait_for_result(page)


def test_a_connection_that_is_cut_off_is_made_again(open_page: OpenPage, scan: Path) -> None:
    """By the browser, which tells the server of the last event that it heard."""
    stub = demo_stub(state="running")
    stub.events = events(("state", {"state": "running"}), number=7)
    page = open_page(stub)
    drop(page, scan)
    wait_for_listening(page, stub, 2)
    stub.state = "written"
    stub.events = events(("end", stub.job()))
    wait_for_result(page)


def test_a_login_that_ends_meanwhile_is_asked_for(open_page: OpenPage, scan: Path) -> None:
    stub = demo_stub(state="running")
    for path in (f"GET api/jobs/{JOB}/events", f"GET api/jobs/{JOB}"):
        stub.refuse[path] = (401, {}, "{}")
    page = open_page(stub, allowed="Failed to load resource")
    drop(page, scan)
    page.wait_for_url("**/login")


def test_events_that_are_refused_once_are_asked_for_again(open_page: OpenPage, scan: Path) -> None:
    """As by a server that has too many listeners for a while."""
    stub = demo_stub(
        state="running", events=events(("state", {"state": "running"}), ("progress", {"done": 3, "of": 9}))
    )
    stub.refuse[f"GET api/jobs/{JOB}/events"] = (503, {}, "{}")
    page = open_page(stub, allowed="Failed to load resource")
    drop(page, scan)
    page.wait_for_selector("#front:has-text('Getting ready')")
    stub.refuse.clear()
    page.wait_for_selector("#front:has-text('3 of 9 windows')")


def test_a_scan_that_cannot_be_drawn_has_its_result(open_page: OpenPage, scan: Path) -> None:
    long = nib.Nifti1Image(np.zeros((20_000, 2, 2), np.uint8), np.eye(4))
    stub = demo_stub()
    stub.view = long.to_bytes()
    page = open_page(stub)
    drop(page, scan)
    wait_for_result(page)
    told = page.inner_text("#front")
    assert "This scan is 20000 voxels long; this browser draws at most" in told
    assert [row.split() for row in page.locator("#labels tr").all_inner_texts()] == [
        ["anterior", "1.52", "ml", "94", "%"],
        ["posterior", "1.41", "ml", "91", "%"],
    ]
    assert not page.is_visible("#correct")
    with page.expect_download() as taken:
        page.click("[aria-label='Download NIfTI']")
    assert Path(taken.value.path()).read_bytes() == stub.labels


def test_labels_of_another_grid_are_not_laid_over_a_scan(open_page: OpenPage, scan: Path) -> None:
    """As many voxels, but along other axes or elsewhere: nothing is shown rather than something wrong."""
    stub = demo_stub()
    image = nib.Nifti1Image.from_bytes(gzip.decompress(stub.labels))
    data = np.asarray(image.dataobj)
    elsewhere = image.affine.copy()
    elsewhere[0, 3] += 1
    page = open_page(stub)
    for other in (nib.Nifti1Image(data.transpose(1, 0, 2), image.affine), nib.Nifti1Image(data, elsewhere)):
        stub.labels = other.to_bytes()
        page.reload()
        page.wait_for_selector("body[data-phase=empty] .front-card")
        drop(page, scan)
        page.wait_for_selector("[role=alert]:has-text('The labels are not on the grid of the scan.')")


def test_the_scan_that_was_asked_for_last_is_the_one_that_is_seen(open_page: OpenPage) -> None:
    """Two scans that are read at the same time are never laid over each other."""
    page = open_page(demo_stub())
    seen = page.evaluate(
        """async ([first, second]) => {
            const { Viewer } = await import("./js/view/viewer.js");
            const canvas = document.createElement("canvas");
            document.body.append(canvas);
            const viewer = new Viewer(canvas, () => {});
            await viewer.start();
            const opened = await Promise.all([first, second].map((bytes) => viewer.open(new Uint8Array(bytes).buffer)));
            const doubts = [first, first].map((bytes) => viewer.setUncertainty(new Uint8Array(bytes).buffer));
            await Promise.all(doubts);
            const told = [opened, viewer.nv.volumes.length, viewer.grid.dims];
            canvas.remove();
            return told;
        }""",
        [list(nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4)).to_bytes()) for shape in ((4, 4, 4), (5, 6, 7))],
    )
    assert seen == [[False, True], 2, [5, 6, 7]]


def test_channels_are_chosen_and_regions_are_summed(open_page: OpenPage, scan: Path) -> None:
    series = [
        {"uid": f"1.2.{number}", "modality": "MR", "count": 35, "shape": [35, 51, 35], "spacing_mm": [1, 1, 1]}
        for number in (1, 2)
    ]
    stub = demo_stub(kind="dicom", series=series, needs=["series"])
    stub.models = [{**MODEL, "channels": ["T1", "T2"], "regions": {"hippocampus": [1, 2]}}]
    stub.view = _twice(stub)
    page = open_page(stub)
    drop(page, scan)
    page.wait_for_selector("#front:has-text('Which series?')")
    assert [page.input_value(f"#series-{channel}") for channel in (0, 1)] == ["1.2.1", "1.2.2"]
    page.select_option("#series-1", "1.2.1")
    page.click("#front button:text('Segment')")
    page.wait_for_selector("#front:has-text('One series is chosen for several channels.')")
    page.select_option("#series-0", "1.2.2")
    page.click("#front button:text('Segment')")
    wait_for_result(page)
    sent = [json.loads(body) for method, path, body in stub.asked if (method, path) == ("POST", "/api/jobs")]
    assert [job["settings"]["series"] for job in sent] == [["1.2.2", "1.2.1"]]
    assert any("view.nii?model=hippocampus&series=1.2.2&series=1.2.1" in path for _, path, _ in stub.asked)
    anterior, posterior, both = (float(row.split()[1]) for row in page.locator("#labels tr").all_inner_texts())
    assert both == pytest.approx(anterior + posterior, abs=0.02)
    before = page.inner_text("#place")
    page.select_option("#channel", label="T2")
    page.focus("#canvas")
    page.keyboard.press("PageUp")
    page.wait_for_selector(f"#place:not(:text-is({json.dumps(before)}))")
    assert page.locator("[data-form=rtstruct]").count() == 1


def _twice(stub: Stub) -> bytes:
    """The scan with a second channel, which is its negative."""
    image = nib.Nifti1Image.from_bytes(stub.view)
    data = np.asarray(image.dataobj).astype(np.float32)
    made = nib.Nifti1Image(np.stack([data, data.max() - data], axis=-1), image.affine)
    return bytes(made.to_bytes())
