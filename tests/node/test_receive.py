"""The receiver, with dcmtk's own senders: what is acknowledged is kept, and what must not come does not."""

from __future__ import annotations

import hashlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGLSLossless, RLELossless, SecondaryCaptureImageStorage, SegmentationStorage
from tests.io.dicom.dicom_maker import make_series, save, write_series
from tests.orthanc import dcmtk
from tests.power_cut import Disk

from unetr.node.receive import arriving
from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.place import Taken
from unetr.node.receive.scp import Receiver
from unetr.node.receive.table import ArrivingTable, SeriesState
from unetr.node.settings import Limits, Listen
from unetr.queue.store import JobStore

VOXELS = np.arange(16 * 12 * 5, dtype=np.int16).reshape(16, 12, 5)


class Node:
    """A receiver on a free port, and what it keeps."""

    def __init__(self, folder: Path, listen: Listen | None = None, limits: Limits | None = None) -> None:
        (folder / "queue").mkdir(parents=True, exist_ok=True)
        self.store = JobStore(folder / "queue" / "jobs.sqlite3")
        limits = limits or Limits(keep_free_mb=0)
        self.arrivals = Arrivals(folder / "queue" / "arriving", ArrivingTable(self.store), limits)
        self.receiver = Receiver(listen or Listen(port=0), limits, self.arrivals)

    def send(self, files: Sequence[Path], *options: str) -> subprocess.CompletedProcess[str]:
        return self.run("storescu", "-nh", "-R", *options, files=files)

    def run(self, program: str, *options: str, files: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
        titles = [] if "-aec" in options else ["-aec", "UNETR"]
        host, port = self.receiver.address
        command = [dcmtk(program), *titles, *options, host, str(port), *map(str, files)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def kept(self) -> list[Path]:
        return [file for row in self.arrivals.rows() for file in self.arrivals.files(row.series)]

    def close(self) -> None:
        self.receiver.close()
        self.store.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.close()


def _files(folder: Path, **more: object) -> list[Path]:
    write_series(folder, VOXELS, **more)  # type: ignore[arg-type]
    return sorted(folder.iterdir())


@pytest.mark.parametrize(
    ("syntax", "option"),
    [(pydicom.uid.ImplicitVRLittleEndian, "-xi"), (RLELossless, "-xr"), (JPEGLSLossless, "-xt")],
)
def test_what_is_sent_is_kept_as_it_came(node: Node, tmp_path: Path, syntax: pydicom.uid.UID, option: str) -> None:
    files = _files(tmp_path / "series", transfer_syntax=syntax)
    sent = node.send(files, option)
    assert sent.returncode == 0, sent.stderr
    kept = {pydicom.dcmread(path).SOPInstanceUID: path for path in node.kept()}
    for file in files:
        before, after = pydicom.dcmread(file), pydicom.dcmread(kept[pydicom.dcmread(file).SOPInstanceUID])
        assert after.file_meta.TransferSyntaxUID == syntax
        assert before == after and before.PixelData == after.PixelData
    assert [row.state for row in node.arrivals.rows()] == [SeriesState.NEW]
    assert list(node.arrivals.parts.iterdir()) == []


def test_what_was_acknowledged_outlasts_a_power_cut(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    assert node.send(_files(tmp_path / "series")).returncode == 0
    kept = node.kept()
    assert len(kept) == VOXELS.shape[2]
    assert all(disk.has_under_its_name(file, tmp_path / "queue" / "arriving") for file in kept)


def test_the_second_of_two_that_come_at_once_outlasts_a_power_cut(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one has made the series' folder, and is slow."""
    disk, come, go = Disk(monkeypatch), threading.Event(), threading.Event()
    files = [file.rename(node.arrivals.parts / file.name) for file in _files(tmp_path / "series")[:2]]
    flush = arriving.flush_to_disk

    def slow(path: Path) -> None:
        if threading.current_thread() is first and any(path.glob("*.dcm")):
            come.set()
            assert go.wait(10)
        flush(path)

    monkeypatch.setattr(arriving, "flush_to_disk", slow)
    first = threading.Thread(target=node.arrivals.take, args=(files[0], "CT1"))
    first.start()
    try:
        assert come.wait(10)
        before = set(node.kept())
        assert node.arrivals.take(files[1], "CT2") is Taken.NEW
        (second,) = set(node.kept()) - before
        assert disk.has_under_its_name(second, tmp_path / "queue" / "arriving")
    finally:
        go.set()
        first.join()


def test_it_answers_an_echo(node: Node) -> None:
    assert node.run("echoscu").returncode == 0
    assert node.run("echoscu", "-aec", "ANOTHER").returncode != 0


def test_names_are_made_here_and_nothing_names_the_patient(node: Node, tmp_path: Path) -> None:
    files = _files(tmp_path / "Mustermann^Erika")
    assert node.send(files).returncode == 0
    uids = {pydicom.dcmread(file).SOPInstanceUID for file in files}
    assert {path.name for path in node.kept()} == {
        hashlib.sha256(uid.encode()).hexdigest()[:32] + ".dcm" for uid in uids
    }
    database = b"".join(path.read_bytes() for path in (tmp_path / "queue").glob("jobs.sqlite3*"))
    assert b"Mustermann" not in database and not any(uid.encode() in database for uid in uids)


def test_the_same_again_is_nothing_new_and_other_bytes_are_kept_beside(node: Node, tmp_path: Path) -> None:
    files = _files(tmp_path / "series")
    for _ in range(2):
        assert node.send(files).returncode == 0
    assert len(node.kept()) == 5 and dict(node.arrivals.counts) == {"new": 5, "same": 5}
    changed = pydicom.dcmread(files[0])
    changed.PixelData = changed.PixelData[::-1]
    save(tmp_path / "changed.dcm", changed)
    assert node.send([tmp_path / "changed.dcm"]).returncode == 0
    assert len(node.kept()) == 6 and node.arrivals.counts["other"] == 1


def test_results_are_let_go_and_images_of_other_kinds_refused(node: Node, tmp_path: Path) -> None:
    datasets = make_series(VOXELS)
    for dataset, sop_class in zip(datasets, (SegmentationStorage, SecondaryCaptureImageStorage), strict=False):
        dataset.SOPClassUID = sop_class
        save(tmp_path / f"{sop_class}.dcm", dataset)
        assert node.send([tmp_path / f"{sop_class}.dcm"]).returncode == 0
    assert node.kept() == [] and node.receiver.counts["derived"] == 2 and list(node.arrivals.parts.iterdir()) == []
    datasets[2].SOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    save(tmp_path / "xray.dcm", datasets[2])
    assert node.send([tmp_path / "xray.dcm"]).returncode != 0 and node.kept() == []


def test_four_at_once(node: Node, tmp_path: Path) -> None:
    folders = [_files(tmp_path / f"series {number}") for number in range(4)]
    host, port = node.receiver.address
    command = [dcmtk("storescu"), "-aec", "UNETR", host, str(port)]
    running = [subprocess.Popen([*command, *map(str, files)]) for files in folders]
    assert [one.wait(30) for one in running] == [0] * 4
    assert len(node.arrivals.rows()) == 4 and len(node.kept()) == 20


def test_what_does_not_fit_is_refused_with_out_of_resources(tmp_path: Path) -> None:
    files = _files(tmp_path / "series")
    for limits in (Limits(keep_free_mb=1e7), Limits(keep_free_mb=0, series_gb=1e-9)):
        node = Node(tmp_path / str(limits.series_gb), limits=limits)
        try:
            sent = node.send(files[:1], "-v")
            assert "0xa700" in sent.stdout + sent.stderr.lower() or "OutOfResources" in sent.stdout + sent.stderr
            assert node.kept() == [] and list(node.arrivals.parts.iterdir()) == []
        finally:
            node.close()


def test_who_may_not_send_is_turned_away(tmp_path: Path) -> None:
    files = _files(tmp_path / "series")
    strict = Node(tmp_path / "titles", Listen(port=0, callers=("CT1",)))
    try:
        assert strict.send(files, "-aet", "MR7").returncode != 0 and strict.kept() == []
        assert strict.send(files, "-aet", "CT1").returncode == 0 and len(strict.kept()) == 5
    finally:
        strict.close()
    elsewhere = Node(tmp_path / "addresses", Listen(port=0, addresses=("10.0.0.0/8",)))
    try:
        assert elsewhere.send(files).returncode != 0
        assert elsewhere.kept() == [] and elsewhere.receiver.counts["address"] >= 1
    finally:
        elsewhere.close()


def test_after_a_kill_what_was_decided_is_known_and_what_came_since_is_open(tmp_path: Path) -> None:
    files = _files(tmp_path / "series")
    node = Node(tmp_path)
    assert node.send(files[:4]).returncode == 0
    (row,) = node.arrivals.rows()
    node.arrivals.decide(row.series, 4, SeriesState.SUBMITTED, jobs={"r": "a" * 32})
    assert node.arrivals.quiet(0, 0) == []
    assert node.send(files[4:]).returncode == 0
    node.close()
    # As after a kill: nothing is told at the end. The row that a kill may have left unwritten is missing, too.
    again = Node(tmp_path)
    try:
        (found,) = again.arrivals.quiet(0, 0)
        assert (found.files, found.jobs) == (4, {"r": "a" * 32}) and len(again.kept()) == 5
        with again.store.changing() as connection:
            connection.execute("DELETE FROM arriving")
    finally:
        again.close()
    without = Node(tmp_path)
    try:
        assert [row.study for row in without.arrivals.quiet(0, 0)] == [row.study] and len(without.kept()) == 5
    finally:
        without.close()


def test_what_is_no_image_is_let_go_and_half_a_file_goes_at_the_start(tmp_path: Path) -> None:
    """Whatever door it comes by: our own results would make new jobs."""
    folder = tmp_path / "arriving"
    store = JobStore(tmp_path / "jobs.sqlite3")
    arrivals = Arrivals(folder, ArrivingTable(store), Limits(keep_free_mb=0))
    (arrivals.parts / "half").write_bytes(b"DICM")
    part = arrivals.parts / "result"
    save(part, make_series(VOXELS[:, :, :1], SOPClassUID=SegmentationStorage)[0])
    assert arrivals.take(part, "PACS") is Taken.IGNORED
    assert arrivals.rows() == [] and [file.name for file in folder.rglob("*")] == ["parts", "half"]
    again = Arrivals(folder, ArrivingTable(store), Limits(keep_free_mb=0))
    assert again.rows() == [] and list(again.parts.iterdir()) == []
    store.close()


def test_after_their_time_series_are_gone_with_their_files(tmp_path: Path) -> None:
    """What was decided of alone, and after a restart as well: a folder that stayed would be a new series then."""
    now, folder = [1000.0], tmp_path / "arriving"
    store = JobStore(tmp_path / "jobs.sqlite3")
    arrivals = Arrivals(folder, ArrivingTable(store), Limits(keep_free_mb=0), clock=lambda: now[0])
    for name in ("decided", "open"):
        for file in _files(tmp_path / name):
            arrivals.take(file.rename(arrivals.parts / file.name), "CT")
        if name == "decided":
            (row,) = arrivals.rows()
            arrivals.decide(row.series, VOXELS.shape[2], SeriesState.SUBMITTED)
    now[0] += 50
    assert arrivals.remove_old(60) == 0 and len(list(folder.glob("*/*.dcm"))) == 2 * VOXELS.shape[2]
    now[0] += 50
    assert arrivals.remove_old(60) == 1
    left = Arrivals(folder, ArrivingTable(store), Limits(keep_free_mb=0), clock=lambda: now[0]).rows()
    assert [each.state for each in left] == [SeriesState.NEW] and left[0].series != row.series
    assert {file.parent.name for file in folder.glob("*/*.dcm")} == {left[0].series}
    store.close()


def test_a_series_whose_sender_was_cut_off_waits_longer(node: Node, tmp_path: Path) -> None:
    """Slices from the top of a scan make a sound volume, too: only that more was to come says that it is not whole."""
    write_series(tmp_path / "series", np.zeros((512, 512, 60), np.int16))
    files = sorted((tmp_path / "series").iterdir())
    host, port = node.receiver.address
    command = [dcmtk("storescu"), "-R", "-aec", "UNETR", host, str(port), *map(str, files)]
    sender = subprocess.Popen(command)
    _until(lambda: len(node.kept()) > 2)
    sender.kill()
    assert sender.wait() < 0 and len(node.kept()) < len(files)
    _until(lambda: not node.arrivals.quiet(0, 1000))
    assert node.arrivals.quiet(0, 0)
    assert node.send(files).returncode == 0 and len(node.kept()) == len(files)
    _until(lambda: node.arrivals.quiet(0, 1000))
    # What was released is known to be whole over a kill, and what was not is known not to be.
    write_series(tmp_path / "again", VOXELS)
    node.close()
    again = Node(tmp_path)
    try:
        assert len(again.arrivals.quiet(0, 1000)) == 1
        again.arrivals.take(tmp_path / "again" / "0000.dcm", "CT1", visit="CT1")
    finally:
        again.close()
    third = Node(tmp_path)
    try:
        assert len(third.arrivals.quiet(0, 1000)) == 1 and len(third.arrivals.quiet(0, 0)) == 2
    finally:
        third.close()


def _until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.02)
