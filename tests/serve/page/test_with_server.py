"""The page with the real server behind it: NIfTI, a DICOM folder and a zip, from the drop to a DICOM segmentation."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from tests.serve.page.acts import draw, drop, wait_for_result
from tests.serve.running import Served, nifti_scan, running

import unetr
from unetr.io.scan import read_volume, write_volume

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCAN = Path(unetr.__file__).parent / "jobs" / "demo" / "scan" / "scan.nii.gz"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(tmp_path_factory.mktemp("serve") / "queue") as served:
        yield served


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """The server's page, which keeps to the server's own policy and asks nobody else."""
    complaints: list[str] = []
    origin = str(served.client.base_url).rstrip("/")
    page = browser.new_page(viewport={"width": 800, "height": 480})
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    page.on("request", lambda asked: complaints.append(asked.url) if _is_elsewhere(asked.url, origin) else None)
    page.goto(f"{origin}/")
    page.wait_for_selector("body[data-phase=empty] .front-card")
    yield page
    page.close()
    assert complaints == []


def _is_elsewhere(url: str, origin: str) -> bool:
    return not url.startswith((f"{origin}/", "data:image/", "blob:"))


def take(page: Page, name: str) -> bytes:
    with page.expect_download() as taken:
        page.click(f"[aria-label='Download {name}']")
    return Path(taken.value.path()).read_bytes()


def test_a_dropped_file_is_segmented_and_corrected(page: Page, served: Served) -> None:
    drop(page, SCAN)
    wait_for_result(page)
    assert "Like the training scans" in page.inner_text("#verdict")
    named = [name.lower() for name in page.locator("#labels label").all_inner_texts()]
    assert named == ["anterior", "posterior"], "the model on offer is the one that made them"
    page.wait_for_selector("#jobs .job[aria-current=true]")
    page.keyboard.press("2")
    page.keyboard.press("e")
    draw(page, (0.4, 0.4), (0.6, 0.6))
    page.click("#save-correction")
    page.wait_for_selector("text=Saved as correction 1.")
    assert take(page, "NIfTI, Correction 1") != take(page, "NIfTI, As the model made it")
    page.reload()
    page.click("#jobs .job")
    wait_for_result(page)
    assert page.is_visible("text=Correction 1"), "it is found again"


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha"])
def test_other_formats_give_the_same_labels(page: Page, served: Served, tmp_path: Path, name: str) -> None:
    """Whatever the scan came as, it is seen and segmented as the same file in NIfTI is."""
    write_volume(tmp_path / name, read_volume(SCAN))
    drop(page, tmp_path / name)
    wait_for_result(page)
    ends = served.ended(served.submit(served.upload(SCAN.read_bytes()), tta=False))
    volumes = [row.split()[1] for row in page.locator("#labels tr").all_inner_texts()]
    assert [float(one) for one in volumes] == pytest.approx(list(ends["summary"]["volumes_ml"].values()), abs=0.006)


def test_a_dicom_folder_gives_a_dicom_segmentation_and_a_zip_works_too(
    page: Page, served: Served, shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "dicom" / "hippocampus_crop_T1"
    drop(page, folder)
    wait_for_result(page)
    page.keyboard.press("2")
    page.keyboard.press("b")
    draw(page, (0.4, 0.4), (0.6, 0.6))
    page.click("#save-correction")
    page.wait_for_selector("text=Saved as correction 1.")
    (tmp_path / "corrected.dcm").write_bytes(take(page, "DICOM SEG, Correction 1"))
    (tmp_path / "contours.dcm").write_bytes(take(page, "RTSTRUCT, Correction 1"))
    (tmp_path / "made.dcm").write_bytes(take(page, "DICOM SEG, As the model made it"))
    corrected, made = (pydicom.dcmread(tmp_path / name) for name in ("corrected.dcm", "made.dcm"))
    assert corrected.Modality == made.Modality == "SEG"
    contours = pydicom.dcmread(tmp_path / "contours.dcm").StructureSetROISequence
    assert [roi.ROIName.lower() for roi in contours] == ["anterior", "posterior"]
    assert corrected.SOPInstanceUID != made.SOPInstanceUID
    assert np.count_nonzero(corrected.pixel_array) != np.count_nonzero(made.pixel_array)
    zipped = tmp_path / "scan.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"DOE^JANE/{path.name}")
    drop(page, zipped)
    page.wait_for_selector("body:not([data-phase=done])", state="attached")
    wait_for_result(page)
    assert page.locator("#labels tr").count() == 2


def test_a_server_that_starts_again_in_mid_job_is_found_again(browser: Browser, tmp_path: Path) -> None:
    """The page says that nobody answers, and then goes on to the result by itself."""
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(nifti_scan(70, (72, 72, 72)))
    page = browser.new_page(viewport={"width": 800, "height": 480})
    with running(tmp_path / "queue") as before:
        port = before.client.base_url.port
        page.goto(str(before.client.base_url))
        page.wait_for_selector("body[data-phase=empty] .front-card")
        page.evaluate("document.getElementById('tta').checked = true")
        page.set_input_files("#files", scan)
        page.wait_for_selector("#front:has-text('windows')", timeout=30_000)
        job = before.client.get("/api/jobs").json()["jobs"][0]
        assert job["state"] == "running"
    with running(tmp_path / "queue", port=port) as after:
        wait_for_result(page)
        told = after.client.get("/api/jobs").json()["jobs"]
        assert [one["id"] for one in told] == [job["id"]], "it is the same job, and the only one"
        assert page.locator("#labels tr").count() == 2
        assert page.get_attribute("#connection", "data-online") == "true"
    page.close()
