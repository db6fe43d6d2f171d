"""The page in a real browser: from a drop to a saved correction, without a word in its console."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pytest
from tests.serve.page.acts import draw, drop, wait_for_result
from tests.serve.page.stub import JOB, Stub, demo_stub

if TYPE_CHECKING:
    from playwright.sync_api import Page

    OpenPage = Callable[..., Page]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "Doe^Jane.nii.gz"
    path.write_bytes(b"any scan")
    return path


def voxels(data: bytes) -> Any:
    return np.asarray(nib.Nifti1Image.from_bytes(gunzipped(data)).dataobj)


def gunzipped(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


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


def oriented(code: str, seed: int) -> tuple[bytes, bytes]:
    """A scan and labels, asymmetric, anisotropic and oblique, whose axes point as the code says."""
    rng = np.random.default_rng(seed)
    shape = (13, 17, 11)
    turn = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(tuple(code)), shape)
    tilt = np.eye(4)
    tilt[:3, :3] = nib.eulerangles.euler2mat(0.2, 0.15, 0.1)
    affine = tilt @ turn @ np.diag([1.1, 1.9, 3.2, 1.0])
    labels = np.zeros(shape, np.uint8)
    labels[2:9, 3:8, 1:4] = 1
    labels[5:12, 9:15, 6:9] = 2
    labels[0, 0, 0] = 1
    scan = nib.Nifti1Image((rng.random(shape) * 200 + 300.0 * labels).astype(np.float32), affine)
    return scan.to_bytes(), gzip.compress(nib.Nifti1Image(labels, affine).to_bytes())


@pytest.mark.parametrize("code", ["LPS", "AIR"])
def test_a_correction_has_the_voxels_of_its_file(open_page: OpenPage, scan: Path, code: str) -> None:
    """Whatever order the file has: what was not drawn on comes back, and the header with it."""
    view, labels = oriented(code, 7)
    stub = Stub(view=view, labels=labels)
    page = open_page(stub)
    drop(page, scan)
    wait_for_result(page)
    page.keyboard.press("2")
    page.keyboard.press("b")
    draw(page, (0.42, 0.42), (0.58, 0.55))
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    with page.expect_response("**/corrections"):
        page.click("#save-correction")
    before, after = voxels(labels), voxels(stub.corrections[0])
    changed = before != after
    assert 0 < changed.sum() < 60 and (after[changed] == 1).all()
    assert gunzipped(stub.corrections[0])[:352] == gunzipped(labels)[:352]
