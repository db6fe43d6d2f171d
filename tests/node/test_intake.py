"""What becomes of series that are quiet: jobs, or words why not. The queue is a double that reads scans as it does."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.io.dicom.dicom_maker import make_series, save

from unetr.node.intake import Intake
from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.table import ArrivingTable, SeriesState
from unetr.node.rules import Rule
from unetr.node.settings import Limits, Ready
from unetr.queue.record import JobRecord, JobSpec, JobState, ScanRecord, Settings, scan_id
from unetr.queue.service import Received
from unetr.queue.store import JobStore, QueueFullError
from unetr.queue.tasks.reading import Source, describe

VOXELS = np.arange(8 * 6 * 6, dtype=np.int16).reshape(8, 6, 6)


PLAIN = Settings()


class Queue:
    """Keeps scans in a folder and reads them with the reader's own function, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.jobs, self.cancelled, self.full = folder, {}, [], False
        self.jobs: dict[str, JobRecord] = {}

    def new_incoming(self) -> Path:
        made = self.folder / secrets.token_hex(4)
        made.mkdir(parents=True)
        return made

    def keep_scan(self, files: Sequence[Received]) -> ScanRecord:
        scan = scan_id([one.sha256 for one in files], ordered=False)
        for number, one in enumerate(files):
            assert hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256
            (self.folder / scan).mkdir(exist_ok=True)
            one.path.replace(self.folder / scan / f"{number:05}.dcm")
        return ScanRecord(id=scan, files=(), bytes=0, created_s=0)

    def describe(self, scan: str, timeout_s: float = 60) -> Mapping[str, Any]:
        return describe(Source(files=(self.folder / scan,)), None)  # type: ignore[arg-type]

    def submit(
        self, scan: str, model: str, settings: Settings = PLAIN, origin: Mapping[str, Any] | None = None
    ) -> JobRecord:
        if self.full:
            raise QueueFullError("full")
        spec = JobSpec(scan=scan, model=model, model_sha256=model, settings=settings)
        job = JobRecord(id=spec.id, spec=spec, state=JobState.READY, created_s=0, updated_s=0, origin=origin or {})
        return self.jobs.setdefault(job.id, job)

    def cancel(self, job: str, actor: str = "") -> JobRecord:
        assert actor == "node"
        self.cancelled.append(job)
        return self.jobs[job]


class Door:
    """Arrivals, the queue, and what was told."""

    def __init__(self, folder: Path, rules: Sequence[Mapping[str, Any]], **ready: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.part = folder / "part.dcm"
        self.arrivals = Arrivals(
            folder / "arriving", ArrivingTable(JobStore(folder / "jobs.sqlite3")), Limits(keep_free_mb=0)
        )
        self.queue, self.lines = Queue(folder / "scans"), list[str]()
        told = [Rule.model_validate({"name": "r", "model": "m"} | dict(rule)) for rule in rules]
        how = Ready.model_validate({"quiet_s": 1e-9, "wait_s": 1000} | ready)
        self.intake = Intake(told, how, self.arrivals, self.queue, self.lines.append)

    def bring(self, datasets: Sequence[Any]) -> None:
        for dataset in datasets:
            save(self.part, dataset)
            self.arrivals.take(self.part, "CT1")

    def states(self) -> list[SeriesState]:
        return [row.state for row in self.arrivals.rows()]


Make = Callable[..., Door]


@pytest.fixture
def door(tmp_path: Path) -> Make:
    def make(*rules: Mapping[str, Any], **ready: Any) -> Door:
        return Door(tmp_path / "node", rules, **ready)

    return make


def test_a_whole_series_becomes_one_job_however_often_it_comes(door: Make) -> None:
    node = door({"when": {"modality": "MR", "slices_at_least": 6}})
    series = make_series(VOXELS)
    for _ in range(10):
        node.bring(series)
        node.intake.step()
    (job,) = node.queue.jobs.values()
    assert node.states() == [SeriesState.SUBMITTED]
    assert job.origin == {"actor": "node", "source": "CT1", "rule": "r", "deliver": {}, "supersedes": []}
    assert job.spec.settings.forms == ("dicom-seg",) and len(list((node.queue.folder / job.spec.scan).iterdir())) == 6


def test_a_gap_waits_for_more_and_is_no_job_before(door: Make) -> None:
    node = door({"when": {}})
    series = make_series(VOXELS)
    node.bring([*series[:2], *series[3:]])
    node.intake.step()
    assert node.states() == [SeriesState.WAITING] and node.queue.jobs == {}
    assert "Mustermann" not in "".join(node.lines) and "Synthetic" not in "".join(node.lines)
    node.bring([series[2]])
    node.intake.step()
    assert node.states() == [SeriesState.SUBMITTED] and len(node.queue.jobs) == 1


def test_a_gap_that_is_never_filled_has_failed_in_words(door: Make) -> None:
    node = door({"when": {}}, wait_s=1e-9)
    series = make_series(VOXELS)
    node.bring([*series[:2], *series[3:]])
    node.intake.step()
    (row,) = node.arrivals.rows()
    assert row.state is SeriesState.FAILED and row.said is not None and "waited" in row.said
    assert node.queue.jobs == {}


def test_slices_that_are_missing_at_an_end_are_waited_for(door: Make) -> None:
    node = door({"when": {}})
    series = make_series(VOXELS)
    node.bring(series[1:])
    node.intake.step()
    (row,) = node.arrivals.rows()
    assert row.state is SeriesState.WAITING and row.said is not None and "InstanceNumbers begin at 2" in row.said
    node.bring(series[:1])
    node.intake.step()
    assert node.states() == [SeriesState.SUBMITTED]


@pytest.mark.parametrize(("missing", "state"), [(0, SeriesState.SUBMITTED), (2, SeriesState.FAILED)])
def test_after_the_waiting_a_doubt_may_be_accepted_and_a_gap_may_not(
    door: Make, missing: int, state: SeriesState
) -> None:
    node = door({"when": {}}, wait_s=1e-9, then="predict")
    series = make_series(VOXELS)
    node.bring([*series[:missing], *series[missing + 1 :]])
    node.intake.step()
    node.intake.step()
    assert node.states() == [state] and len(node.queue.jobs) == (state is SeriesState.SUBMITTED)


def test_a_late_slice_makes_another_job_which_supersedes_the_first(door: Make) -> None:
    node = door({"when": {}})
    series = make_series(VOXELS)
    node.bring(series[:5])
    node.intake.step()
    (first,) = node.queue.jobs
    node.bring(series[5:])
    node.intake.step()
    second = next(job for key, job in node.queue.jobs.items() if key != first)
    assert node.queue.cancelled == [first] and second.origin["supersedes"] == [first]


def test_what_no_rule_asks_for_is_kept_and_not_predicted(door: Make) -> None:
    node = door({"when": {"modality": "CT"}}, {"name": "many", "when": {"slices_at_least": 100}})
    node.bring(make_series(VOXELS))
    node.intake.step()
    assert node.states() == [SeriesState.UNMATCHED] and node.queue.jobs == {}
    assert node.intake.counts[SeriesState.UNMATCHED] == 1
    (row,) = node.arrivals.rows()
    assert len(node.arrivals.files(row.series)) == 6


def test_the_first_rule_counts_and_the_next_where_it_says_so(door: Make) -> None:
    node = door(
        {"name": "a", "model": "a", "when": {}, "go_on": True},
        {"name": "b", "model": "b", "when": {}},
        {"name": "c", "model": "c", "when": {}},
    )
    node.bring(make_series(VOXELS))
    node.intake.step()
    assert {job.spec.model for job in node.queue.jobs.values()} == {"a", "b"}


def test_a_full_queue_is_tried_again(door: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unetr.node.intake._PAUSE_S", 0.0)
    node = door({"when": {}})
    node.queue.full = True
    node.bring(make_series(VOXELS))
    node.intake.step()
    assert node.states() == [SeriesState.NEW]
    node.queue.full = False
    node.intake.step()
    assert node.states() == [SeriesState.SUBMITTED]


CHANNELS = {
    "channels": [{"name": "T1", "when": {"description": "T1*"}}, {"name": "T2", "when": {"description": "T2*"}}],
    "wait_s": 1000,
}


def _study(*descriptions: str) -> list[list[Any]]:
    shared = {"StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4"}
    return [make_series(VOXELS, SeriesDescription=description, **shared) for description in descriptions]


def test_channels_wait_for_each_other_and_go_in_the_rules_order(door: Make) -> None:
    node = door(CHANNELS)
    second, other, first = _study("T2 tse", "localizer", "T1 mprage")
    node.bring(second)
    node.bring(other)
    node.intake.step()
    assert node.queue.jobs == {} and set(node.states()) == {SeriesState.HELD, SeriesState.UNMATCHED}
    node.bring(first)
    node.intake.step()
    (job,) = node.queue.jobs.values()
    assert job.spec.settings.series == (first[0].SeriesInstanceUID, second[0].SeriesInstanceUID)
    assert sorted(node.states()) == ["submitted", "submitted", "unmatched"]


def test_two_series_for_one_channel_are_refused_in_words(door: Make) -> None:
    node = door(CHANNELS)
    for series in _study("T1 a", "T1 b", "T2"):
        node.bring(series)
    node.intake.step()
    assert node.queue.jobs == {}
    assert any("2 series of the study meet channel T1 of rule r; expected one" in line for line in node.lines)


def test_channels_of_other_studies_do_not_count_and_time_ends(door: Make) -> None:
    node = door(CHANNELS | {"wait_s": 1e-9})
    node.bring(_study("T1")[0])
    node.bring(make_series(VOXELS, SeriesDescription="T2", StudyInstanceUID="9.9"))
    node.intake.step()
    assert node.queue.jobs == {} and node.states() == [SeriesState.FAILED] * 2


def test_a_job_of_the_series_alone_stands_beside_the_one_of_the_study(door: Make) -> None:
    alone = {"name": "alone", "model": "a", "when": {"description": "T1*"}, "go_on": True}
    node = door(alone, CHANNELS | {"name": "both", "model": "b"})
    first, second = _study("T1", "T2")
    node.bring(first[:5])
    node.intake.step()
    node.bring(second)
    node.intake.step()
    before = {job.spec.model: job for job in node.queue.jobs.values()}
    assert set(before) == {"a", "b"} and node.queue.cancelled == []
    assert before["b"].origin["supersedes"] == []
    # A late slice makes both anew.
    node.bring(first[5:])
    node.intake.step()
    assert set(node.queue.cancelled) == {job.id for job in before.values()}
    assert len(node.queue.jobs) == 4


def test_a_series_that_was_taken_for_all_its_doubts_keeps_no_other_back(door: Make) -> None:
    node = door({"name": "all", "when": {"description": "odd"}}, CHANNELS, wait_s=1e-9, then="predict")
    odd, first, second = _study("odd", "T1", "T2")
    node.bring(odd[1:])
    node.intake.step()
    node.intake.step()
    assert node.states() == [SeriesState.SUBMITTED]
    for series in (first, second):
        node.bring(series)
    node.intake.step()
    assert node.states() == [SeriesState.SUBMITTED] * 3 and len(node.queue.jobs) == 2
