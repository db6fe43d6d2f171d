"""The page in a real browser: from a drop to a saved correction, without a word in its console."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tests.serve.page.acts import draw, drop, wait_for_result
from tests.serve.page.scans import voxels
from tests.serve.page.stub import JOB, SCAN, demo_stub

if TYPE_CHECKING:
    from playwright.sync_api import Page

    OpenPage = Callable[..., Page]


def test_from_a_drop_to_a_saved_correction(open_page: OpenPage, scan: Path) -> None:
    stub = demo_stub()
    page = open_page(stub)
    drop(page, scan)
    wait_for_result(page)
    assert "Like the training scans" in page.inner_text("#verdict")
    rows = page.locator("#labels tr")
    before = voxels(stub.labels)
    assert [row.split() for row in rows.all_inner_texts()] == [
        ["anterior", f"{(before == 1).sum() / 1000:.2f}", "ml", "94", "%"],
        ["posterior", f"{(before == 2).sum() / 1000:.2f}", "ml", "91", "%"],
    ]
    page.keyboard.press("2")
    page.keyboard.press("b")
    page.keyboard.press("n")
    draw(page, (0.3, 0.3), (0.4, 0.3))
    draw(page, (0.3, 0.8), (0.4, 0.8))
    page.keyboard.press("Control+z")
    with page.expect_response("**/corrections"):
        page.click("#save-correction")
    page.wait_for_selector("text=Saved as correction 1.")
    after = voxels(stub.corrections[0])
    changed = np.argwhere(after != before)
    assert len(changed) > 20 and set(after[tuple(changed.T)]) == {2}
    assert len(set(changed[:, 2])) == 1, "a stroke in the axial plane stays in its slice"
    with page.expect_download() as taken:
        page.click("[aria-label='Download NIfTI, Correction 1']")
    assert taken.value.suggested_filename == f"{JOB[:8]}.correction-1.labels.nii.gz"
    assert Path(taken.value.path()).read_bytes() == stub.corrections[0]


def test_every_control_has_a_name_and_keys_do_what_the_help_says(open_page: OpenPage, scan: Path) -> None:
    stub = demo_stub()
    page = open_page(stub)
    drop(page, scan)
    wait_for_result(page)
    names = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, summary, canvas')].map((one) => [one.outerHTML,
            one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent.trim()])"""
    )
    assert len(names) > 40
    assert [html for html, name in names if not name.strip()] == []
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    assert "Verdict: Like the training scans." in page.inner_text("#announcer")
    page.keyboard.press("3")
    assert page.get_attribute("[data-layout=coronal]", "aria-pressed") == "true"
    before = page.inner_text("#place")
    page.focus("#canvas")
    page.keyboard.press("PageUp")
    page.wait_for_selector(f"#place:not(:text-is({json.dumps(before)}))")
    page.keyboard.press("e")
    assert page.get_attribute("#eraser", "aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert page.get_attribute("#eraser", "aria-pressed") == "false"
    page.keyboard.press("?")
    assert page.is_visible("#help kbd:text('Page Up')")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")


def test_a_folder_is_read_to_its_end_and_names_stay_here(open_page: OpenPage, tmp_path: Path) -> None:
    """A browser lists a folder by hundreds; files of the system and empty ones are left out."""
    folder = tmp_path / "DOE^JANE"
    (folder / "inner").mkdir(parents=True)
    for number in range(230):
        (folder / "inner" / f"Doe.{number}.dcm").write_bytes(b"slice")
    (folder / ".DS_Store").write_bytes(b"noise")
    (folder / "empty.dcm").touch()
    stub = demo_stub(kind="dicom", hang={"api/scans"})
    page = open_page(stub)
    drop(page, folder)
    page.wait_for_selector("#front:has-text('230 files')")
    sent = [body for method, path, body in stub.asked if path == "/api/scans"]
    assert len(sent) == 1
    assert b'filename="230.dcm"' in sent[0] and b"231.dcm" not in sent[0]
    assert b"doe" not in sent[0].lower()


def test_what_goes_wrong_is_told_with_what_to_do(open_page: OpenPage, scan: Path) -> None:
    told = json.dumps(
        {"error": {"kind": "InputError", "message": "the upload is no scan; expected DICOM", "hint": None}}
    )
    stub = demo_stub(refuse={f"GET api/scans/{SCAN}": (422, {}, told)})
    page = open_page(stub, allowed="Failed to load resource")
    drop(page, scan)
    page.wait_for_selector("[role=alert]:has-text('The upload is no scan; expected DICOM.')")
    page.click("#front button:text('New scan')")
    page.wait_for_selector("body[data-phase=empty]")
    stub.refuse.clear()
    stub.needs = ["assume_affine"]
    drop(page, scan)
    full = json.dumps({"error": {"kind": "QueueFullError", "message": "32 jobs wait", "hint": None}})
    stub.refuse["POST api/jobs"] = (429, {"Retry-After": "1"}, full)
    page.click("#front button:text('It lies as usual')")
    page.wait_for_selector("#front:has-text('The server is busy')")
    stub.refuse.clear()
    wait_for_result(page)
    asked = [json.loads(body) for method, path, body in stub.asked if (method, path) == ("POST", "/api/jobs")]
    assert len(asked) > 1, "it was asked again"
    assert all(job["settings"]["assume_affine"] for job in asked)


def test_the_list_of_jobs_keeps_the_button_that_somebody_is_on(open_page: OpenPage) -> None:
    """A new job above it must not put another one under the finger."""
    stub = demo_stub()
    stub.jobs = [stub.job(id=letter * 32) for letter in "bc"]
    page = open_page(stub)
    page.focus("#jobs li:nth-child(2) .job")
    page.evaluate("() => (document.activeElement.isTheSame = true)")
    focused = "() => [document.activeElement.dataset.job, document.activeElement.isTheSame ?? false]"
    with page.expect_response("**/api/jobs?limit=100"):
        page.evaluate("() => window.dispatchEvent(new Event('online'))")
    page.wait_for_timeout(50)
    assert page.evaluate(focused) == ["c" * 32, True], "nothing has changed"
    stub.jobs.insert(0, stub.job(id="d" * 32, state="running"))
    page.evaluate("() => window.dispatchEvent(new Event('online'))")
    page.wait_for_selector("#jobs li:nth-child(3)")
    assert page.evaluate(focused) == ["c" * 32, False]


def test_words_and_numbers_are_those_of_the_other_ways_out(open_page: OpenPage) -> None:
    """Millilitres as in the picture for the PACS; what is told twice is heard twice."""
    volumes = [0, 0.001, 0.034, 1.516, 123.456, 1234.5]
    millilitres, told = open_page(demo_stub()).evaluate(
        """async (volumes) => {
            const { millilitres } = await import("./js/panels/labels.js");
            const { announce } = await import("./js/dom.js");
            const place = document.getElementById("announcer");
            const told = ["Undone", "Undone"].map((words) => (announce(words), place.textContent));
            return [volumes.map(millilitres), told];
        }""",
        volumes,
    )
    assert [one for one in millilitres if one != "<0.01 ml"] == [f"{ml:.2f} ml" for ml in volumes if ml != 0.001]
    assert millilitres[1] == "<0.01 ml", "not nothing"
    assert told[0] != told[1] and [one.strip() for one in told] == ["Undone", "Undone"]


def test_a_narrow_screen_has_all_of_it(open_page: OpenPage, scan: Path) -> None:
    page = open_page(demo_stub(), width=390, height=844)
    page.set_input_files("#files", scan)
    wait_for_result(page)
    for pane, inside in {"result": "#labels", "correct": "#brush", "jobs": "#no-jobs", "new": "#model"}.items():
        page.click(f".bottom [data-pane={pane}]")
        assert page.is_visible(inside), pane
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
