"""Ways through the page other than the straight one: stopped, cut off, logged out, too large, several channels."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import nibabel as nib
import numpy as np
import pytest
from tests.http_server import Handler, answering
from tests.serve.page.acts import drop, hurry, wait_for_result
from tests.serve.page.stub import JOB, MODEL, Stub, demo_stub

from unetr.serve.page import STATIC

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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
    page.focus("#front button:text('Cancel')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#front:has-text('Stopping')")
    assert page.evaluate("() => document.activeElement.className") == "front-card", "the button has gone, not the focus"
    wait_for_listening(page, stub, stub.listened + 2)
    assert "Stopping" in page.inner_text("#front")
    stub.events = events(("end", stub.job(state="cancelled")))
    page.wait_for_selector("#front:has-text('Cancelled')")
    stub.state, stub.events = "written", None
    page.click("#front button:text('Segment again')")
    wait_for_result(page)


class Events(Handler):
    """Three pieces of a job's events, each at a connection of its own, and the module that follows them."""

    told: ClassVar = [
        events(("state", {"state": "running"}), number=7),
        events(("progress", {"done": 3, "of": 9})),
        events(("end", {"state": "written"})),
    ]
    went_on_from: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        kind, body = "text/html", b"<title>A page</title>"
        if self.path == "/engine.js":
            kind, body = "text/javascript", (STATIC / "js" / "engine.js").read_bytes()
        elif self.path.endswith("/events"):
            kind, body = "text/event-stream", self.told[len(self.went_on_from)].encode()
            self.went_on_from.append(self.headers["Last-Event-ID"])
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)


def test_a_connection_that_is_cut_off_is_made_again(browser: Browser) -> None:
    """By the browser, which tells the server of the last event that it heard."""
    with answering(Events) as address:
        page = browser.new_page()
        page.goto(f"{address}/")
        told = page.evaluate(
            """async () => {
                const { follow } = await import("/engine.js");
                const told = [];
                await new Promise((done) => follow("1", (news) => (told.push(news), news.end && done())));
                return told.map((news) => news.state ?? news.done ?? news.end.state);
            }"""
        )
        page.close()
    assert told == ["running", 3, "written"]
    assert Events.went_on_from == [None, "7", "7"]


def test_a_login_that_ends_meanwhile_is_asked_for(open_page: OpenPage, scan: Path) -> None:
    stub = demo_stub(state="running")
    for path in (f"GET api/jobs/{JOB}/events", f"GET api/jobs/{JOB}"):
        stub.refuse[path] = (401, {}, "{}")
    page = open_page(stub, allowed="Failed to load resource")
    hurry(page)
    drop(page, scan)
    page.wait_for_url("**/login")
    assert page.inner_text("h1") == "Log in"
    assert stub.listened == 1, "nobody asks on who is not logged in"


def test_events_that_are_refused_once_are_asked_for_again(open_page: OpenPage, scan: Path) -> None:
    """As by a server that has too many listeners for a while."""
    stub = demo_stub(
        state="running", events=events(("state", {"state": "running"}), ("progress", {"done": 3, "of": 9}))
    )
    stub.refuse[f"GET api/jobs/{JOB}/events"] = (503, {}, "{}")
    page = open_page(stub, allowed="Failed to load resource")
    hurry(page)
    drop(page, scan)
    page.wait_for_selector("#front:has-text('Getting ready')")
    refused = stub.listened
    assert refused >= 1
    stub.refuse.clear()
    page.wait_for_selector("#front:has-text('3 of 9 windows')")
    assert stub.listened > refused
    assert page.get_attribute("#connection", "data-online") == "true"


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


def test_the_scan_that_was_dropped_last_is_the_one_that_is_segmented(open_page: OpenPage, tmp_path: Path) -> None:
    """A large folder takes its time to be read; another scan that comes meanwhile is not replaced by it."""
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(b"of the folder")
    scan = tmp_path / "scan.nii"
    scan.write_bytes(b"the last one")
    stub = demo_stub()
    page = open_page(stub)
    page.evaluate(
        """() => {
            const { prototype } = DataTransferItem;
            const entry = prototype.webkitGetAsEntry;
            prototype.webkitGetAsEntry = function () {
                const reader = entry.call(this).createReader();
                const readEntries = (...given) => (window.goOn = () => reader.readEntries(...given));
                return { isFile: false, createReader: () => ({ readEntries }) };
            };
        }"""
    )
    drop(page, folder)
    page.wait_for_selector("#front:has-text('Looking through the files')")
    page.set_input_files("#files", scan)
    wait_for_result(page)
    page.evaluate("() => window.goOn()")
    page.wait_for_timeout(200)
    sent = [body for method, path, body in stub.asked if (method, path) == ("POST", "/api/scans")]
    assert [b'filename="1.nii"' in body for body in sent] == [True]
    assert page.get_attribute("body", "data-phase") == "done"


def test_how_a_scan_lies_is_asked_for_each_scan(open_page: OpenPage, scan: Path) -> None:
    """And a job that is opened again is asked for again as it was."""
    stub = demo_stub(needs=["assume_affine"])
    stub.jobs = [stub.job()]
    page = open_page(stub)
    for times in (1, 2):
        drop(page, scan)
        page.wait_for_selector("#front:has-text('This scan has no orientation')")
        page.click("#front button:text('It lies as usual')")
        wait_for_result(page)
        sent = [json.loads(body) for method, path, body in stub.asked if (method, path) == ("POST", "/api/jobs")]
        assert [job["settings"]["assume_affine"] for job in sent] == [True] * times
    stub.settings = {"tta": True, "uncertainty": False, "assume_affine": True, "series": []}
    drop(page, scan)
    page.wait_for_selector("#front:has-text('This scan has no orientation')")
    assert not page.is_checked("#assume-affine")
    page.click("#jobs .job")
    wait_for_result(page)
    assert [page.is_checked(f"#{name}") for name in ("tta", "assume-affine")] == [True, True]


def test_a_server_that_is_back_is_told_at_once(open_page: OpenPage, scan: Path) -> None:
    """Although a job that waits has no news for long; and where no events are to be had, the job is looked at."""
    stub = demo_stub(state="ready", events="retry: 50\n\n")
    page = open_page(stub, allowed="Failed to load resource")
    hurry(page)
    drop(page, scan)
    page.wait_for_selector("#front:has-text('It begins as soon as the server is free.')")
    stub.cut = {f"api/jobs/{JOB}/events", f"api/jobs/{JOB}"}
    page.wait_for_selector("#front:has-text('The server does not answer; trying again')")
    stub.cut.clear()
    page.wait_for_selector("#front:has-text('It begins as soon as the server is free.')")
    stub.refuse[f"GET api/jobs/{JOB}/events"] = (503, {}, "{}")
    stub.state, stub.progress = "running", {"done": 4, "of": 9}
    page.wait_for_selector("#front:has-text('4 of 9 windows')")
    wait_for_listening(page, stub, stub.listened + 5)
    assert "4 of 9 windows" in page.inner_text("#front")


def test_answers_that_are_cut_off_or_of_somebody_else(open_page: OpenPage, scan: Path) -> None:
    """Labels are fetched again; a page to log into a network is not taken for a scan."""
    stub = demo_stub(refuse={"POST api/scans": (200, {}, "<html>Welcome to our network</html>")})
    page = open_page(stub)
    drop(page, scan)
    page.wait_for_selector("[role=alert]:has-text('The answer is none of this server.')")
    stub.refuse.clear()
    hurry(page)
    page.evaluate(
        """() => {
            const ask = window.fetch;
            window.fetch = async (address, ...given) => {
                if (!address.endsWith("/results/labels") || window.wasCut) return ask(address, ...given);
                window.wasCut = true;
                const cut = (pipe) => (pipe.enqueue(new Uint8Array(100)), pipe.error(new TypeError("network error")));
                return new Response(new ReadableStream({ start: cut }));
            };
        }"""
    )
    drop(page, scan)
    wait_for_result(page)
    assert page.evaluate("() => window.wasCut")


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
