"""What is drawn, with which window of grey values, and what the page offers where nothing can be drawn."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from tests.serve.page.acts import draw, drop, drop_and_draw, wait_for_result
from tests.serve.page.scans import voxels
from tests.serve.page.stub import MODEL, Stub, demo_stub

if TYPE_CHECKING:
    from playwright.sync_api import Page

    OpenPage = Callable[..., Page]

HOUNSFIELD = ["soft tissue", "lung", "bone", "brain", "liver", "vessels"]


def test_without_webgl_there_is_a_result_and_no_control_that_does_nothing(open_page: OpenPage, scan: Path) -> None:
    stub = demo_stub()
    page = open_page(stub)
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")
    page.reload()
    page.wait_for_selector("#front:has-text('WebGL2 is off')")
    drop(page, scan)
    wait_for_result(page)
    assert "Switch on hardware acceleration" in page.inner_text("#front")
    assert "have nothing to change" in page.inner_text("#no-looks")
    assert [page.is_visible(f"#{name}") for name in ("opacity", "clarity", "correct", "toolbar")] == [False] * 4
    assert page.locator("#labels :is(input, button):enabled").count() == 0
    assert page.locator("#labels tr").all_inner_texts()[0].split()[:3] == ["anterior", "1.52", "ml"]
    with page.expect_download() as taken:
        page.click("[aria-label='Download NIfTI']")
    assert Path(taken.value.path()).read_bytes() == stub.labels


def test_a_scan_dropped_after_a_failed_start_is_segmented(open_page: OpenPage, scan: Path) -> None:
    """The models were not known; the page asks for them again instead of waiting for ever."""
    stub = demo_stub()
    page = open_page(stub, allowed="Failed to load resource")
    stub.refuse["GET api/models"] = (503, {}, "{}")
    page.reload()
    page.wait_for_selector("[role=alert]:has-text('The server refused (503).')")
    stub.refuse.clear()
    drop(page, scan)
    wait_for_result(page)
    assert page.locator("#labels tr").count() == 2


def test_nobody_draws_what_is_not_seen(open_page: OpenPage, scan: Path) -> None:
    stub = demo_stub()
    page = open_page(stub)
    drop(page, scan)
    wait_for_result(page)
    page.keyboard.press("l")
    assert (page.is_disabled("#opacity"), page.inner_text("#opacity-value")) == (True, "off (L)")
    page.click("[aria-label='Show anterior']")
    page.keyboard.press("2")
    assert page.is_disabled("#clarity") and page.is_visible("#clarity-note")
    page.keyboard.press("b")
    assert (page.is_enabled("#opacity"), page.inner_text("#opacity-value")) == (True, "50 %")
    assert page.get_attribute("[aria-label='Show anterior']", "aria-pressed") == "true"
    draw(page, (0.3, 0.3), (0.4, 0.3))
    page.keyboard.press("Control+s")
    page.wait_for_selector("text=Saved as correction 1.")
    assert np.count_nonzero(voxels(stub.corrections[0]) != voxels(stub.labels)) > 5
    page.keyboard.press("1")
    assert page.is_enabled("#clarity") and not page.is_visible("#clarity-note")
    page.keyboard.press("l")
    assert page.inner_text("#opacity-value") == "off (L)"
    drop(page, scan)
    page.wait_for_selector("body:not([data-phase=done])", state="attached")
    wait_for_result(page)
    assert page.inner_text("#opacity-value") == "50 %", "a new result is seen"


def test_a_picture_that_is_lost_is_told_and_no_stroke_with_it(open_page: OpenPage, scan: Path) -> None:
    stub = demo_stub()
    page = open_page(stub, allowed="CONTEXT_LOST_WEBGL")
    drop_and_draw(page, scan)
    page.evaluate("() => canvas.getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()")
    page.wait_for_selector("#front:has-text('The picture is gone')")
    assert page.get_attribute("#brush", "aria-pressed") == "false"
    page.keyboard.press("b")
    draw(page, (0.6, 0.6), (0.7, 0.6))
    page.keyboard.press("Control+s")
    page.wait_for_selector("text=Saved as correction 1.")
    assert len(set(np.argwhere(voxels(stub.corrections[0]) != voxels(stub.labels))[:, 1])) < 10, (
        "the first stroke alone"
    )
    page.click("#front button:text('Load again')")
    page.wait_for_selector("body[data-phase=empty]")


def test_hounsfield_windows_are_for_what_is_in_hounsfield_units(open_page: OpenPage, scan: Path) -> None:
    """A scan that says what it is is believed; one that does not is asked for air, which here only its border has."""
    data = np.full((12, 12, 12), 40, np.int16)
    data[0] = -1000
    stub = Stub(view=nib.Nifti1Image(data, np.eye(4)).to_bytes(), models=[{**MODEL, "channels": ["CT"]}])
    stub.labels = nib.Nifti1Image(np.ones_like(data, np.uint8), np.eye(4)).to_bytes()
    page = open_page(stub)
    rows = [
        ("CT", "MRI", 0, "yes"),
        ("MR", "CT", -1000, "no"),
        ("PT", "CT", -1000, "no"),
        (None, "CT", -1000, "yes"),
        (None, "MRI", -1000, "perhaps"),
        (None, None, -1000, "perhaps"),
        (None, "CT", 0, "no"),
    ]
    told = page.evaluate(
        """async (rows) => {
            const { inHounsfield } = await import("./js/view/windows.js");
            return rows.map(([modality, channel, least]) => inHounsfield({ modality, channel, least }));
        }""",
        rows,
    )
    assert told == [expected for *_, expected in rows]
    drop(page, scan)
    wait_for_result(page)
    names = page.locator("#window option").all_inner_texts()
    assert names == ["automatic", *HOUNSFIELD, "by hand"]
    assert page.input_value("#window") == "soft tissue"


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
        drop(page, scan)
        page.wait_for_selector("body:not([data-phase=failed])", state="attached")
        page.wait_for_selector("[role=alert]:has-text('The labels are not on the grid of the scan.')")
        assert [page.is_visible(f"#{name}") for name in ("result", "correct", "downloads")] == [False] * 3
        page.keyboard.press("b")
        assert page.get_attribute("#brush", "aria-pressed") == "false", "there are no labels to change"


def test_names_of_labels_are_those_of_the_model_that_made_them(open_page: OpenPage, scan: Path) -> None:
    """Not of another one that has its name now; and all names are text, whatever is in them."""
    stub = demo_stub(models=[{**MODEL, "sha256": "1" * 64, "labels": {"liver": 1, "spleen": 2}}])
    page = open_page(stub)
    drop(page, scan)
    wait_for_result(page)
    rows = page.locator("#labels tr")
    assert [row.split("\t")[1].strip() for row in rows.all_inner_texts()] == ["label 1", "label 2"]
    assert "not offered any more" in page.inner_text("#result-model")
    colours = [page.input_value(f"[aria-label='Colour of label {value}']") for value in (1, 2)]
    assert len(set(colours)) == 2
    image = nib.Nifti1Image.from_bytes(gzip.decompress(stub.labels))
    stub.labels = nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine).to_bytes()
    page.click("#segment")
    page.wait_for_selector("#labels:not(:has(tr))", state="attached")
    wait_for_result(page)
    for key in "bn":
        page.keyboard.press(key)
    assert page.get_attribute("#brush", "aria-pressed") == "false"
    hostile = "<img src=x onerror=alert(1)>"
    stub.models = [{**MODEL, "labels": {hostile: 1, "posterior": 2}, "title": hostile, "licence": hostile}]
    stub.summary = {"verdict": {"state": "warned", "warnings": [hostile], "notes": [hostile]}}
    page.reload()
    page.wait_for_selector("body[data-phase=empty] .front-card")
    drop(page, scan)
    wait_for_result(page)
    assert page.inner_text("#labels tr:first-child label") == hostile
    assert page.inner_text("#verdict").count(hostile) == 2
    page.keyboard.press("b")
    assert page.input_value("#brush-label") == "0"
