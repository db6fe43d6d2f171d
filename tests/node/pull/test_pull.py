"""A real Orthanc is asked for new series, by its own interface and by DICOMweb."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import SegmentationStorage
from tests.http_server import Handler, answering
from tests.io.dicom.dicom_maker import make_series, save, write_series
from tests.orthanc import Orthanc, free_port, running_orthanc

from unetr.dicomweb.address import PacsError
from unetr.errors import InputError
from unetr.node.pull.loop import PullLoop, Source, open_source
from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.table import ArrivingTable
from unetr.node.settings import Limits, Pull
from unetr.queue.store import JobStore

VOXELS = np.arange(8 * 6 * 4, dtype=np.int16).reshape(8, 6, 4)
TODAY = datetime.datetime.now(tz=datetime.UTC).strftime("%Y%m%d")
LIMITS = Limits(keep_free_mb=0)


class Puller:
    """A PACS that is asked, and what was fetched of it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.store = JobStore(folder / "jobs.sqlite3")
        self.arrivals = Arrivals(folder / "arriving", ArrivingTable(self.store), LIMITS)
        self.pull = Pull.model_validate({"name": "pacs"} | settings)
        self.source: Source = open_source(self.pull, LIMITS, self.arrivals, self.store)

    def until(self, count: int, seconds: float = 20.0) -> int:
        """Asks until so many series were fetched, or the time is over; how many were."""
        end, fetched = time.monotonic() + seconds, 0
        while fetched < count and time.monotonic() < end:
            fetched += self.source.ask()
            time.sleep(0.1)
        return fetched

    def kept(self) -> list[Path]:
        return [file for row in self.arrivals.rows() for file in self.arrivals.files(row.series)]

    def close(self) -> None:
        self.source.close()
        self.store.close()


@pytest.fixture(params=["orthanc", "dicomweb"])
def puller(request: pytest.FixtureRequest, orthanc: Orthanc, tmp_path: Path) -> Iterator[Puller]:
    url = orthanc.url if request.param == "orthanc" else orthanc.dicom_web
    made = Puller(tmp_path / "node", **{request.param: {"url": url}})
    yield made
    made.close()


def _store(orthanc: Orthanc, folder: Path, **more: Any) -> list[Path]:
    write_series(folder, VOXELS, StudyDate=TODAY, **more)
    files = sorted(folder.iterdir())
    orthanc.store(files)
    return files


def test_new_series_are_fetched_once_and_results_never(puller: Puller, orthanc: Orthanc, tmp_path: Path) -> None:
    files = _store(orthanc, tmp_path / "series")
    segmentation = make_series(VOXELS[..., :1], StudyDate=TODAY, Modality="SEG", SOPClassUID=SegmentationStorage)[0]
    save(tmp_path / "seg.dcm", segmentation)
    orthanc.store([tmp_path / "seg.dcm"])
    assert puller.until(1) == 1
    fetched = {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path) for path in puller.kept()}
    assert fetched == {one.SOPInstanceUID: one for one in map(pydicom.dcmread, files)}
    # The same again, which makes Orthanc tell of a stable series again, is nothing new.
    orthanc.store(files)
    assert puller.until(1, 3.0) + puller.source.sweep() <= 1
    assert len(puller.kept()) == 4 and len(puller.arrivals.rows()) == 1


def test_late_instances_are_fetched_and_what_was_fetched_is_remembered(
    puller: Puller, orthanc: Orthanc, tmp_path: Path
) -> None:
    write_series(tmp_path / "series", VOXELS, StudyDate=TODAY)
    files = sorted((tmp_path / "series").iterdir())
    orthanc.store(files[:3])
    assert puller.until(1) == 1
    again = open_source(puller.pull, LIMITS, puller.arrivals, puller.store)
    assert again.ask() + again.ask() + again.sweep() == 0
    again.close()
    orthanc.store(files[3:])
    assert puller.until(1) == 1 and len(puller.kept()) == 4


def test_a_sweep_finds_what_events_did_not_tell(orthanc: Orthanc, tmp_path: Path) -> None:
    _store(orthanc, tmp_path / "series")
    end = time.monotonic() + 20
    while not orthanc.get("/series?expand")[0]["IsStable"] and time.monotonic() < end:
        time.sleep(0.1)
    orthanc.fetch("/changes", method="DELETE")
    puller = Puller(tmp_path / "node", orthanc={"url": orthanc.url})
    try:
        assert puller.source.ask() == 0
        assert puller.source.sweep() == 1 and len(puller.kept()) == 4
    finally:
        puller.close()


def test_what_an_orthanc_had_long_before_is_not_fetched(orthanc: Orthanc, tmp_path: Path) -> None:
    old = _store(orthanc, tmp_path / "old")[:3]
    (series,) = orthanc.get("/series")
    end = time.monotonic() + 20
    while not (told := orthanc.get(f"/series/{series}"))["IsStable"] and time.monotonic() < end:
        time.sleep(0.1)
    moment = datetime.datetime.strptime(f"{told['LastUpdate']}+0000", "%Y%m%dT%H%M%S%z")
    time.sleep(max(0.0, 1.1 - (datetime.datetime.now(tz=datetime.UTC) - moment).total_seconds()))
    usual = Puller(tmp_path / "usual", orthanc={"url": orthanc.url})
    node = Puller(tmp_path / "node", orthanc={"url": orthanc.url}, days=0)
    try:
        assert usual.source.ask() == 1, "a day before is not long before"
        assert node.source.ask() + node.source.sweep() + node.source.sweep() == 0
        _store(orthanc, tmp_path / "new")
        assert node.until(1) == 1 and len(node.kept()) == 4
        later = make_series(VOXELS, StudyDate=TODAY)[-1]
        first = pydicom.dcmread(old[0])
        later.StudyInstanceUID, later.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
        save(tmp_path / "later.dcm", later)
        orthanc.store([tmp_path / "later.dcm"])
        assert node.until(1) == 1 and len(node.kept()) == 9, "it grows, so it is none of the past"
    finally:
        usual.close()
        node.close()


def test_a_password_is_read_from_its_file(tmp_path: Path) -> None:
    closed = {"AuthenticationEnabled": True, "RegisteredUsers": {"node": "open sesame"}}
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n", encoding="utf-8")
    with running_orthanc(tmp_path / "orthanc", login=("node", "open sesame"), **closed) as orthanc:
        _store(orthanc, tmp_path / "series")
        wrong = Puller(tmp_path / "wrong", orthanc={"url": orthanc.url})
        right = Puller(tmp_path / "right", orthanc={"url": orthanc.url, "user": "node", "password_file": str(secret)})
        try:
            with pytest.raises(PacsError, match="status 401"):
                wrong.source.ask()
            assert right.until(1) == 1
        finally:
            wrong.close()
            right.close()


def test_a_pacs_that_is_away_is_asked_again(tmp_path: Path) -> None:
    puller = Puller(tmp_path / "node", orthanc={"url": f"http://127.0.0.1:{free_port()}"}, every_s=0.1)
    lines: list[str] = []
    with pytest.raises(PacsError, match="does not answer"):
        puller.source.ask()
    with PullLoop(puller.pull, puller.source, lines.append):
        end = time.monotonic() + 10
        while not lines and time.monotonic() < end:
            time.sleep(0.05)
    assert len(lines) == 1 and "it is asked again" in lines[0]
    puller.store.close()


def test_an_answer_that_is_none_is_refused_and_redirects_are_not_followed(tmp_path: Path) -> None:
    asked: list[str] = []

    class Elsewhere(Handler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302 if "last" in self.path and len(asked) > 1 else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(b"<html>")

    with answering(Elsewhere) as address:
        puller = Puller(tmp_path / "node", orthanc={"url": address})
        for said in ("something else than JSON", "status 302"):
            with pytest.raises(PacsError, match=said):
                puller.source.ask()
        puller.close()
    assert "/elsewhere" not in asked


def test_a_secret_that_cannot_be_read_is_said_without_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Puller(tmp_path / "node", orthanc={"url": "http://127.0.0.1:1", "token_file": str(tmp_path / "none")})
