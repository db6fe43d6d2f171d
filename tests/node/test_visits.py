"""When a series counts as quiet: who brings it, who was cut off, and who came back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.io.dicom.dicom_maker import make_series, save

from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.table import ArrivingTable, SeriesState
from unetr.node.settings import Limits
from unetr.queue.store import JobStore


@pytest.mark.parametrize(
    ("story", "is_sure"),
    [
        (["a brings", "a ends"], True),
        (["a brings", "a cut"], False),
        (["a brings", "a cut", "a ends"], True),  # told of the closed connection first, and then of the release
        (["a brings", "a cut", "b brings", "b ends"], True),
        (["a brings", "b brings", "a cut", "b ends"], False),  # b was there before: it brings what is its own
        (["a brings", "b brings", "a cut", "b ends", "c brings", "c ends"], True),
        (["a brings", "a ends", "b brings", "b cut"], False),
        (["a brings", "a ends", "b cut"], True),  # b brought something else
    ],
)
def test_who_was_cut_off_and_did_not_come_back(tmp_path: Path, story: list[str], is_sure: bool) -> None:
    arrivals = Arrivals(
        tmp_path / "arriving", ArrivingTable(JobStore(tmp_path / "jobs.sqlite3")), Limits(keep_free_mb=0)
    )
    series = iter(make_series(np.zeros((8, 8, 4), np.int16)))
    for who, what in map(str.split, story):
        if what == "brings":
            save(tmp_path / "part", next(series))
            arrivals.take(tmp_path / "part", who, visit=who)
        else:
            arrivals.left(who, whole=what == "ends")
    assert len(arrivals.quiet(0, 1000)) == is_sure and len(arrivals.quiet(0, 0)) == 1


def test_what_was_decided_of_goes_after_its_time_and_leaves_nothing(tmp_path: Path) -> None:
    now = [1000.0]
    table = ArrivingTable(JobStore(tmp_path / "jobs.sqlite3"))
    arrivals = Arrivals(tmp_path / "arriving", table, Limits(keep_free_mb=0), clock=lambda: now[0])
    for dataset in (*make_series(np.zeros((8, 8, 2), np.int16)), *make_series(np.zeros((8, 8, 2), np.int16))):
        save(tmp_path / "part", dataset)
        arrivals.take(tmp_path / "part", "CT1")
    done, _ = arrivals.rows()
    arrivals.decide(done.series, 2, SeriesState.SUBMITTED)
    now[0] += 99
    assert arrivals.remove_old(100) == 0
    now[0] += 2
    assert arrivals.remove_old(100) == 1  # the other one is not decided of, and so not done with
    (left,) = arrivals.rows()
    arrivals.decide(left.series, 2, SeriesState.FAILED, "why")
    now[0] += 101
    assert arrivals.remove_old(100) == 1 and table.all() == []
    assert [path for path in (tmp_path / "arriving").rglob("*") if path.is_file() or path.name != "parts"] == []
