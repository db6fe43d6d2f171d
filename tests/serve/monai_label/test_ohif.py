"""OHIF with MONAI Label's plugin, unchanged, in Chromium: Info and Run draw each voxel at its place.

`benchmarks/ohif.py` does this for each direction, and for the SEG and RTSTRUCT of a PACS.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from tests.http_server import Handler, answering
from tests.orthanc import Orthanc, running_orthanc
from tests.serve.monai_label.peers import ohif
from tests.serve.monai_label.serving import serving
from tests.serve.monai_label.viewer import chromium

import unetr
from unetr.errors import InputError
from unetr.queue.service import Service
from unetr.serve.monai_label.viewer.ohif import open_viewer
from unetr.serve.safety.tokens import new_token


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, all_series: dict[str, Path]) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as made:
        made.store(sorted(all_series["sagittal"].iterdir()))
        yield made


def test_run_draws_each_voxel_at_its_place_behind_a_token(
    service: Service, orthanc: Orthanc, all_series: dict[str, Path], tmp_path: Path
) -> None:
    token = new_token(tmp_path / "tokens.json", "person")
    series = all_series["sagittal"]
    study = pydicom.dcmread(next(series.iterdir()), stop_before_pixels=True).StudyInstanceUID
    with (
        serving(service, tokens=tmp_path / "tokens.json", ohif=ohif(), pacs=orthanc.dicom_web) as address,
        chromium(address) as viewer,
    ):
        viewer.page.goto(f"{address}/login")
        viewer.page.fill("#token", token)
        with viewer.page.expect_navigation():
            viewer.page.get_by_role("button").click()
        found, affine = viewer.run(study)
        viewer.picture(tmp_path / "ohif.png")
        assert viewer.errors == []
    expected = unetr.load("hippocampus").predict(series).labels
    assert np.count_nonzero(found) > 1000
    assert np.array_equal(found, expected.data[0])
    assert np.allclose(affine, expected.affine, atol=1e-3)


def test_the_proxy_reads_the_one_pacs_and_nothing_else(service: Service, orthanc: Orthanc) -> None:
    with serving(service, pacs=orthanc.dicom_web) as address, httpx.Client(base_url=address, timeout=20) as client:
        found = client.get("/proxy/dicom/qido/series", params={"Modality": "MR"})
        assert found.headers["content-type"] == "application/dicom+json" and len(found.json()) == 1
        study, series = (found.json()[0][tag]["Value"][0] for tag in ("0020000D", "0020000E"))
        told = client.get(f"/proxy/dicom/wado/studies/{study}/series/{series}/metadata")
        assert len(told.json()) == 35
        for other in (
            "../system",
            "..%2fsystem",
            "%2e%2e/system",
            "servers",
            "studies/1/../../system",
            "studies/x",
            "//a.b",
        ):
            assert client.get(f"/proxy/dicom/wado/{other}").status_code == 404
        assert client.post("/proxy/dicom/wado/studies", content=b"x").status_code == 405
    with serving(service, pacs="http://127.0.0.1:9/dicom-web") as address:
        assert httpx.get(f"{address}/proxy/dicom/qido/studies").status_code == 503
        asked = httpx.post(f"{address}/infer/hippocampus?image=1.2.3", data={"params": "{}"})
        assert asked.status_code in (400, 415, 503)


def test_a_pacs_cannot_send_this_server_elsewhere(service: Service) -> None:
    """A redirect is followed neither by the proxy nor by what fetches a series, and the browser is told of none."""
    asked: list[str] = []

    class Elsewhere(Handler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/secret")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with answering(Elsewhere) as other:
        place = f"{other}/dicom-web"
        with serving(service, pacs=place) as address, httpx.Client(base_url=address, timeout=60) as client:
            answer = client.get("/proxy/dicom/qido/studies")
            assert (answer.status_code, answer.headers.get("location")) == (302, None)
            fetched = client.post("/infer/hippocampus", params={"image": "1.2.3"}, files={"params": (None, "{}")})
            assert fetched.status_code == 503
    assert len(asked) >= 2
    assert all(path.startswith("/dicom-web/") for path in asked)


def test_a_series_that_has_grown_in_the_pacs_is_segmented_anew(
    service: Service, orthanc: Orthanc, all_series: dict[str, Path]
) -> None:
    slices = sorted(all_series["axial"].iterdir())
    series = pydicom.dcmread(slices[0], stop_before_pixels=True).SeriesInstanceUID
    with serving(service, pacs=orthanc.dicom_web) as address, httpx.Client(base_url=address, timeout=60) as client:

        def job() -> str:
            asked = {"image": series, "output": "json"}
            return str(client.post("/infer/hippocampus", params=asked, files={"params": (None, "{}")}).json()["job"])

        orthanc.store(slices[:-4])
        first = job()
        orthanc.store(slices[-4:])
        second = job()
        assert job() == second != first
    scans = [service.store.scan(service.store.job(each).spec.scan) for each in (first, second)]
    assert [len(each.files) for each in scans] == [len(slices) - 4, len(slices)]


def test_the_viewer_gives_its_own_files_alone(service: Service, tmp_path: Path) -> None:
    with serving(service, ohif=ohif()) as address, httpx.Client(base_url=address) as client:
        page = client.get("/ohif/viewer?StudyInstanceUIDs=1.2")
        assert "https://" not in page.text and "/ohif/app-config.js" in page.text
        policy = page.headers["content-security-policy"]
        assert "connect-src 'self'" in policy and "unsafe-inline" not in policy.partition("style-src")[0]
        assert "dicomweb" in client.get("/ohif/app-config.js").text
        for outside in ("../../client/client.py", "%2e%2e/%2e%2e/client/client.py", "missing.js", "a%00.js"):
            assert client.get(f"/ohif/{outside}").status_code == 404
        assert client.get("/ohif/sw.js").text == ""
    (tmp_path / "index.html").write_text("<html></html>")
    with pytest.raises(InputError, match="no OHIF"):
        open_viewer(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_viewer(tmp_path / "missing")
