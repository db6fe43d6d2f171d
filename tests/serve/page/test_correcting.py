"""Corrections in a real browser: which voxels a stroke changes, what counts as saved, fingers on a small screen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from tests.serve.page.acts import draw, drop, drop_and_draw, on_canvas, point, touch, wait_for_result
from tests.serve.page.scans import gunzipped, oriented, stroked, voxels
from tests.serve.page.stub import JOB, Stub, demo_stub

if TYPE_CHECKING:
    from playwright.sync_api import Page

    OpenPage = Callable[..., Page]

START, END = (0.42, 0.42), (0.58, 0.55)


def test_a_stroke_is_exact_in_any_order_of_the_file(open_page: OpenPage, scan: Path) -> None:
    """Against a brush of nibabel and numpy: every voxel and the header. benchmarks/page.py tries six orders."""
    stub = Stub()
    page = open_page(stub)
    for order in ("AIR", "LPS"):
        stub.view, stub.labels = oriented(order)
        stub.corrections.clear()
        drop(page, scan)
        page.wait_for_selector("body:not([data-phase=done])", state="attached")
        wait_for_result(page)
        page.keyboard.press("2")
        start, end = point(page, START), point(page, END)
        page.keyboard.press("b")
        draw(page, START, END, steps=1)
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+Shift+z")
        with page.expect_response("**/corrections"):
            page.click("#save-correction")
        page.wait_for_selector("text=Saved as correction 1.")
        after, expected = voxels(stub.corrections[0]), stroked(stub.labels, start, end, 4.0, 1)
        assert np.count_nonzero(expected != voxels(stub.labels)) > 5
        np.testing.assert_array_equal(after, expected, err_msg=order)
        assert gunzipped(stub.corrections[0])[:352] == gunzipped(stub.labels)[:352]


def test_what_is_not_saved_is_asked_about(open_page: OpenPage, scan: Path) -> None:
    """Also as many strokes as were saved, but other ones."""
    stub = demo_stub()
    page = open_page(stub)
    asked: list[str] = []
    answers = [False, True]

    def answer(dialog: object) -> None:
        asked.append(dialog.message)  # type: ignore[attr-defined]
        (dialog.accept if answers.pop(0) else dialog.dismiss)()  # type: ignore[attr-defined]

    page.on("dialog", answer)
    drop_and_draw(page, scan)
    page.keyboard.press("Control+s")
    page.wait_for_selector("text=Saved as correction 1.")
    page.keyboard.press("Control+z")
    assert page.inner_text("#correction-state") == "Not saved yet."
    page.keyboard.press("Control+Shift+z")
    assert page.inner_text("#correction-state") == "Saved as correction 1."
    page.keyboard.press("Control+z")
    draw(page, (0.6, 0.6), (0.7, 0.6))
    assert page.inner_text("#correction-state") == "Not saved yet."
    page.click("#segment")
    assert asked == ["The correction is not saved. Leave it?"]
    assert page.is_enabled("#save-correction"), "nothing was left"
    page.click("#segment")
    page.wait_for_function("() => document.querySelector('#save-correction').disabled")
    wait_for_result(page)
    assert len(asked) == 2
    assert page.inner_text("#correction-state") == "Draw in a plane with the brush or the eraser."


def test_a_correction_waits_for_a_login_that_has_ended(open_page: OpenPage, scan: Path) -> None:
    stub = demo_stub()
    page = open_page(stub, allowed="Failed to load resource")
    drop_and_draw(page, scan)
    stub.refuse["GET session"] = (401, {}, "{}")
    page.click("#save-correction")
    page.wait_for_selector("#correction-state:has-text('Not saved. You are not logged in')")
    assert stub.corrections == []
    stub.refuse.clear()
    page.click("#save-correction")
    page.wait_for_selector("text=Saved as correction 1.")
    assert np.count_nonzero(voxels(stub.corrections[0]) != voxels(stub.labels)) > 5


def test_a_correction_is_saved_once_and_never_lost(open_page: OpenPage, scan: Path) -> None:
    """Asked for twice; beside one of another window; and where the job has been removed meanwhile."""
    stub = demo_stub()
    page = open_page(stub, allowed="Failed to load resource")
    drop_and_draw(page, scan)
    page.evaluate(
        """() => [1, 2].forEach(() => document.body.dispatchEvent(
            new KeyboardEvent("keydown", { key: "s", ctrlKey: true, bubbles: true, cancelable: true })))"""
    )
    page.wait_for_selector("text=Saved as correction 1.")
    stub.corrections.append(b"of another window")
    draw(page, (0.3, 0.4), (0.4, 0.4))
    page.click("#save-correction")
    page.wait_for_selector("text=Saved as correction 3.")
    assert len(stub.corrections) == 3
    page.wait_for_selector("[aria-label='Download NIfTI, Correction 2']")
    told = json.dumps({"error": {"kind": "NotFoundError", "message": "there is no such job", "hint": None}})
    stub.refuse[f"POST api/jobs/{JOB}/corrections"] = (404, {}, told)
    draw(page, (0.3, 0.5), (0.4, 0.5))
    assert not page.is_visible("#keep-correction")
    page.click("#save-correction")
    page.wait_for_selector("#correction-state:has-text('Not saved. there is no such job')")
    with page.expect_download() as taken:
        page.click("#keep-correction")
    assert taken.value.suggested_filename == f"{JOB[:8]}.corrected.labels.nii"
    kept = Path(taken.value.path()).read_bytes()
    assert kept[:352] == gunzipped(stub.labels)[:352]
    saved = voxels(stub.corrections[2])
    assert np.count_nonzero(voxels(kept) != saved) > 5
    assert np.count_nonzero(saved != voxels(stub.labels)) > 10


def test_what_is_not_seen_is_not_changed(open_page: OpenPage, scan: Path) -> None:
    """Neither labels that are hidden nor slices that are only turned over."""
    stub = demo_stub()
    page = open_page(stub)
    drop(page, scan)
    wait_for_result(page)
    before = voxels(stub.labels)
    page.keyboard.press("2")
    page.click("[aria-label='Show anterior']")
    page.keyboard.press("e")
    page.locator("#brush-size").fill("40")
    draw(page, (0.45, 0.5), (0.55, 0.5))
    page.keyboard.press("l")
    draw(page, (0.45, 0.4), (0.55, 0.6))
    assert page.inner_text("#opacity-value") == "50 %", "hidden labels are shown where they are drawn"
    page.keyboard.press("Control+s")
    page.wait_for_selector("text=Saved as correction 1.")
    changed = before[voxels(stub.corrections[0]) != before]
    assert len(changed) > 20 and set(changed) == {2}
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("b")
    page.locator("#brush-size").fill("2")
    page.focus("#canvas")
    page.mouse.move(*on_canvas(page, (0.4, 0.4)))
    page.mouse.down()
    for _ in range(3):
        page.keyboard.press("PageUp")
    page.mouse.move(*on_canvas(page, (0.5, 0.4)))
    page.mouse.up()
    page.keyboard.press("Control+s")
    page.wait_for_selector("text=Saved as correction 2.")
    slices = {int(z) for z in np.argwhere(voxels(stub.corrections[1]) != before)[:, 2]}
    assert len(slices) == 2 and max(slices) - min(slices) == 3


def test_the_edge_of_a_scan_is_its_last_voxel(open_page: OpenPage) -> None:
    """Not the one beyond it, which in memory is on the opposite side."""
    told = open_page(demo_stub()).evaluate(
        """async (bytes) => {
            const { Viewer } = await import("./js/view/viewer.js");
            const { LabelMap } = await import("./js/view/labelmap.js");
            const canvas = document.createElement("canvas");
            document.body.append(canvas);
            const viewer = new Viewer(canvas, () => {});
            await viewer.start();
            await viewer.open(new Uint8Array(bytes).buffer);
            const file = { dims: [4, 5, 6], affine: null, voxels: new Uint8Array(120).fill(1, 0, 20), voxelMl: 1 };
            viewer.setLabels(new LabelMap(file, [{ name: "low", value: 1, colour: [0, 0, 0] }], viewer.grid), [true]);
            viewer.setLayout("sagittal");
            viewer.nv.scene.crosshairPos = [1, 1, 1];
            await new Promise((done) => setTimeout(() => requestAnimationFrame(done), 100));
            const middle = viewer.pick(canvas.clientWidth / 2, canvas.clientHeight / 2);
            const label = viewer.describe({ mm: [0, 0, 0] }).label;
            canvas.remove();
            return [middle.voxel[0], label];
        }""",
        list(nib.Nifti1Image(np.ones((4, 5, 6), np.float32), np.eye(4)).to_bytes()),
    )
    assert told == [3, None]


def test_every_stroke_counts_beyond_those_that_can_be_undone(open_page: OpenPage) -> None:
    versions = open_page(demo_stub()).evaluate(
        """async () => {
            const { LabelMap } = await import("./js/view/labelmap.js");
            const file = { dims: [300, 1, 1], affine: null, voxels: new Uint8Array(300), voxelMl: 1 };
            const grid = { dims: [300, 1, 1], inFile: [300, 1, 1], step: [1, 300, 300], start: [0, 0, 0] };
            const map = new LabelMap(file, [{ name: "a", value: 1, colour: [0, 0, 0] }], grid);
            const seen = [map.version];
            for (let at = 0; at < 205; at += 1) {
                map.begin();
                map.paint(at, 1);
                map.commit();
                seen.push(map.version);
            }
            while (map.undo());
            return [seen, map.version, map.volumeMl(0)];
        }"""
    )
    seen, at_the_bottom, left = versions
    assert seen == list(range(206))
    assert (at_the_bottom, left) == (5, 5), "the oldest five strokes stay"


def test_one_finger_draws_and_two_do_not(open_page: OpenPage, scan: Path) -> None:
    stub = demo_stub()
    page = open_page(stub, width=390, height=844, has_touch=True)
    page.set_input_files("#files", scan)
    wait_for_result(page)
    page.tap("[data-layout=axial]")
    page.tap(".bottom [data-pane=correct]")
    page.tap("#brush")
    touch(page, [(0.4, 0.5)], [(0.4, 0.5), (0.6, 0.5)], [(0.35, 0.5), (0.65, 0.5)], [(0.3, 0.5), (0.7, 0.5)])
    assert page.is_disabled("#undo"), "two fingers move the picture"
    touch(page, [(0.4, 0.5)], [(0.45, 0.5)], [(0.5, 0.5)])
    page.wait_for_selector("#undo:enabled")
    page.tap("#save-correction")
    page.wait_for_selector("text=Saved as correction 1.")
    changed = np.argwhere(voxels(stub.corrections[0]) != voxels(stub.labels))
    assert len(changed) > 10
    assert len(set(changed[:, 2])) == 1
