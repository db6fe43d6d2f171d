"""A PACS that fails for some of its series, cuts answers off or sends too much: no other series is kept back by it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.http_server import Handler, answering
from tests.io.dicom.dicom_maker import make_series, save

from unetr.errors import MachineError
from unetr.node.pull.loop import PullLoop, Source, open_source
from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.table import ArrivingTable
from unetr.node.settings import Limits, Pull
from unetr.queue.store import JobStore

Answer = tuple[int, str, bytes]
SLICES = 3


class Pacs:
    """Series in files. Each page of DICOMweb's studies is the same, with more_studies, which cannot be looked into.

    broken: of these numbers, what is answered in place of each instance, or of the whole series."""

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir()
        self.series: list[list[bytes]] = []
        self.uids: list[tuple[str, str]] = []
        self.broken: dict[int, Callable[[bytes], Answer]] = {}
        self.grows: set[int] = set()
        self.more_studies: list[str] = []
        self.asked: list[str] = []
        for _ in range(count):
            datasets = make_series(np.zeros((8, 8, SLICES), np.int16))
            for number, dataset in enumerate(datasets):
                save(folder / str(number), dataset)
            self.series.append([(folder / str(number)).read_bytes() for number in range(SLICES)])
            self.uids.append((str(datasets[0].StudyInstanceUID), str(datasets[0].SeriesInstanceUID)))

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        words = path.partition("?")[0].strip("/").split("/")
        if words[0] == "studies":
            return self.dicom_web(words[1:])
        return self.orthanc(words, path)

    def orthanc(self, words: list[str], path: str) -> Answer:
        if words[0] == "changes":
            events = [{"ResourceType": "Series", "ID": name(n)} for n in range(len(self.series))]
            told: Any = {"Last": 7, "Done": True, "Changes": events if "since=0" in path else []}
        elif words == ["series"]:
            told = [name(n) for n in range(len(self.series))] if "since=0" in path else []
        elif words[0] == "series":
            number = int(words[1][-4:])
            instances = [name(100 * number + index + 100) for index in range(SLICES)]
            told = {"MainDicomTags": {"Modality": "MR"}, "Instances": instances, "IsStable": number not in self.grows}
        else:
            number, index = divmod(int(words[1][-4:]) - 100, 100)
            plain = self.series[number][index]
            return self.broken.get(number, whole)(plain)
        return 200, "application/json", json.dumps(told).encode()

    def dicom_web(self, words: list[str]) -> Answer:
        if not words:
            studies = [*self.more_studies, *(study for study, _ in self.uids)] * (20 if self.more_studies else 1)
            entries = [{"0020000D": {"Value": [study]}} for study in studies]
            return 200, "application/dicom+json", json.dumps(entries).encode()
        if words[0] in self.more_studies:
            return 500, "text/plain", b""
        number = next(n for n, (study, _) in enumerate(self.uids) if study == words[0])
        if len(words) == 2:
            told = {"0020000E": self.uids[number][1], "00080060": "MR", "00201209": SLICES}
            entry = {tag: {"Value": [value]} for tag, value in told.items()}
            return 200, "application/dicom+json", json.dumps([entry]).encode()
        head = b"\r\n--B\r\nContent-Type: application/dicom\r\n\r\n"
        body = b"".join(head + one for one in self.series[number]) + b"\r\n--B--\r\n"
        status, kind, told_body = self.broken.get(number, whole)(body)
        return status, kind and 'multipart/related; type="application/dicom"; boundary=B', told_body


def name(number: int) -> str:
    return f"00000000-00000000-00000000-00000000-{number:08}"


def whole(plain: bytes) -> Answer:
    return 200, "application/dicom", plain


def fails(plain: bytes) -> Answer:
    return 500, "text/plain", b""


def cut_off(plain: bytes) -> Answer:
    return 200, "application/dicom", plain[: len(plain) // 2]


def nonsense(plain: bytes) -> Answer:
    return 200, "application/dicom", plain.replace(b"DICM", b"XXXX", 1)


def one_less(plain: bytes) -> Answer:
    parts = plain.split(b"\r\n--B")
    return 200, "application/dicom", b"\r\n--B".join([*parts[:-2], parts[-1]])


@contextmanager
def served(pacs: Pacs) -> Iterator[str]:
    class Told(Handler):
        def do_GET(self) -> None:
            status, kind, body = pacs.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()  # without a length: its end is that of the connection
            self.wfile.write(body)

    with answering(Told) as address:
        yield address


class Puller:
    def __init__(self, folder: Path, way: str, url: str, limits: Limits) -> None:
        self.store = JobStore(folder / "jobs.sqlite3")
        self.arrivals = Arrivals(folder / "arriving", ArrivingTable(self.store), limits)
        pull = {"name": "pacs", way: {"url": url}, "every_s": 0.1, "sweep_s": 1000}
        self.pull = Pull.model_validate(pull)
        self.source: Source = open_source(self.pull, limits, self.arrivals, self.store)

    def ask(self, times: int) -> list[str]:
        """What was raised."""
        said = []
        for _ in range(times):
            try:
                self.source.ask()
            except MachineError as error:
                said.append(str(error))
        return said

    def kept(self) -> list[int]:
        return sorted(len(self.arrivals.files(row.series)) for row in self.arrivals.rows())

    def sure(self) -> int:
        """How many series are quiet and whole."""
        return len(self.arrivals.quiet(0, 1000))


Start = Callable[..., Puller]


@pytest.fixture(params=["orthanc", "dicomweb"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pacs(tmp_path: Path) -> Pacs:
    return Pacs(tmp_path / "pacs", 6)


@pytest.fixture
def start(pacs: Pacs, tmp_path: Path) -> Iterator[Start]:
    made: list[Puller] = []
    with served(pacs) as url:

        def start(way: str, **limits: float) -> Puller:
            made.append(Puller(tmp_path, way, url, Limits.model_validate({"keep_free_mb": 0} | limits)))
            return made[-1]

        yield start
        for one in made:
            one.source.close()
            one.store.close()


def test_many_series_that_fail_keep_no_other_back(pacs: Pacs, start: Start, way: str) -> None:
    pacs.broken = dict.fromkeys(range(4), fails)
    puller = start(way)
    assert len(puller.ask(4)) >= 2
    assert puller.kept() == [SLICES] * 2
    pacs.broken = {}
    puller.ask(4)
    assert puller.kept() == [SLICES] * 6 and puller.sure() == 6
    assert puller.ask(2) == []


def test_studies_that_cannot_be_looked_into_keep_no_other_back(pacs: Pacs, start: Start) -> None:
    pacs.more_studies = ["1.2.3", "1.2.4", "1.2.5", "1.2.6", "\0 ../..", "http://elsewhere/"]
    puller = start("dicomweb")
    assert len(puller.ask(4)) == 4
    assert puller.kept() == [SLICES] * 6
    assert all("studies" in path and "elsewhere" not in path for path in pacs.asked)


def test_a_series_that_was_cut_off_on_the_way_is_fetched_again(pacs: Pacs, start: Start) -> None:
    pacs.broken = {2: cut_off}
    puller = start("dicomweb")
    assert any("ends before" in said for said in puller.ask(3)) and puller.kept() == [SLICES] * 5
    pacs.broken = {}
    puller.ask(1)
    assert puller.kept() == [SLICES] * 6


def test_a_series_that_comes_in_part_is_asked_for_again_and_never_whole(pacs: Pacs, start: Start) -> None:
    pacs.broken = {2: one_less}
    puller = start("dicomweb")
    assert any("gives 2 of 3 instances" in said for said in puller.ask(6))
    assert puller.kept() == [SLICES - 1, *[SLICES] * 5] and puller.sure() == 5
    asked = len(pacs.asked)
    assert puller.ask(1) == [] and len(pacs.asked) - asked <= 1 + 6, "it is not fetched for ever"


def test_a_series_with_a_damaged_object_is_not_whole(pacs: Pacs, start: Start, way: str) -> None:
    pacs.broken = {1: nonsense}
    puller = start(way)
    assert puller.ask(2) == []
    assert puller.sure() == 5 and puller.arrivals.counts["damaged"] >= 1


@pytest.mark.parametrize("limit", ["instance_mb", "series_gb"])
def test_what_is_too_much_is_refused_once_and_never_whole(pacs: Pacs, start: Start, way: str, limit: str) -> None:
    size = len(pacs.series[0][0])
    if limit == "instance_mb" and way == "dicomweb":
        pytest.skip("its limit is that of a series")
    puller = start(way, **{limit: size / 2e6 if limit == "instance_mb" else 1.5 * size / 1e9})
    assert puller.ask(2) == []
    assert puller.arrivals.counts["too much"] == 6 and puller.sure() == 0
    assert all(number < SLICES for number in puller.kept())
    asked = [path for path in pacs.asked if "file" in path or path.count("/") > 3]
    puller.ask(2)
    puller.source.sweep()
    assert [path for path in pacs.asked if "file" in path or path.count("/") > 3] == asked


def test_what_still_grew_is_looked_at_again_though_no_event_tells_of_it(pacs: Pacs, start: Start) -> None:
    pacs.grows = {3}
    puller = start("orthanc")
    assert puller.ask(2) == [] and puller.kept() == [SLICES] * 5
    pacs.grows = set()
    assert puller.ask(1) == [] and puller.kept() == [SLICES] * 6


def test_a_series_that_fails_keeps_no_sweep_back(pacs: Pacs, start: Start) -> None:
    pacs.broken = {0: fails}
    puller = start("orthanc")
    swept = threading.Event()
    sweep = puller.source.sweep

    def noted() -> int:
        swept.set()
        return sweep()

    puller.source.sweep = noted  # type: ignore[method-assign]
    with PullLoop(puller.pull, puller.source, lambda line: None):
        assert swept.wait(10)
