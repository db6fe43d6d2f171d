"""How a comparison goes on, what it does with trainings that fail, and what it shows where a system tells no peak."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unetr.core.observer import Observer
from unetr.errors import InputError, MachineError, StoppedError, UnetrError
from unetr.evaluation.results import ClassScore, summarise
from unetr.jobs.apart.registry import TRAIN, Trained, TrainRequest
from unetr.jobs.apart.run_apart import Done
from unetr.jobs.compare import trainings
from unetr.jobs.compare.request import CompareRequest
from unetr.jobs.compare.trainings import is_done, peak_mb, train_all
from unetr.report.comparison import Contestant, comparison_document, comparison_table


class Hearing(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[tuple[str, int, int | None]] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)

    def on_stage(self, name: str, done: int, of: int | None) -> None:
        self.stages.append((name, done, of))


@pytest.fixture
def request_(tmp_path: Path) -> CompareRequest:
    for name in ("tiny", "small"):
        (tmp_path / "out" / name).mkdir(parents=True)
    return CompareRequest(
        dataset=tmp_path / "data", out=tmp_path / "out", networks=("tiny", "small"), minutes=0.5, folds=2, of=3, seed=4
    )


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[TrainRequest]]:
    """ends_with(outcomes...) makes the processes of trainings end so; the list fills with what they are asked for."""

    def stand_in(*outcomes: Done[Trained] | UnetrError) -> list[TrainRequest]:
        asked: list[TrainRequest] = []

        def attempt(job: Any, request: TrainRequest, _observer: Observer, *, log: Path) -> Any:
            assert job is TRAIN and log == request.out.with_suffix(".log")
            asked.append(request)
            found = outcomes[len(asked) - 1]
            if isinstance(found, StoppedError):
                raise found  # of this process
            return found

        monkeypatch.setattr(trainings, "attempt_apart", attempt)
        return asked

    return stand_in


def done(peak: float | None = 321.5) -> Done[Trained]:
    return Done(Trained(Path("model"), 0.5), peak)


def test_a_failure_is_told_and_the_others_go_on(request_: CompareRequest, ends_with: Any) -> None:
    asked = ends_with(done(), MachineError("no memory"), done(), done(None))
    observer = Hearing()
    failed = train_all(request_, observer)
    assert [(each.out.parent.name, each.fold) for each in asked] == [
        ("tiny", 0), ("small", 0), ("tiny", 1), ("small", 1)
    ]  # fmt: skip
    assert all((each.folds, each.seed, each.minutes) == (3, 4, 0.5) for each in asked)
    assert failed == [f"small, fold 0: failed: no memory; see {request_.out / 'small' / 'fold0.log'}"]
    assert failed[0] in observer.notes and observer.stages[-1] == ("training", 4, 4)
    assert is_done(request_, "tiny") and not is_done(request_, "small")
    assert json.loads((request_.out / "tiny" / "fold1.json").read_text()) == {"peak_mb": 321.5}
    assert peak_mb(request_.record_of("tiny", 0)) == 321.5 and peak_mb(request_.record_of("small", 1)) is None
    again = ends_with(done())
    assert train_all(request_, observer) == [] and [(each.out.parent.name, each.fold) for each in again] == [
        ("small", 0)
    ]


def test_what_stops_this_process_ends_the_comparison(request_: CompareRequest, ends_with: Any) -> None:
    asked = ends_with(done(), StoppedError("stopped"))
    with pytest.raises(StoppedError):
        train_all(request_, Observer())
    assert len(asked) == 2 and request_.record_of("tiny", 0).exists() and not request_.record_of("small", 0).exists()


@pytest.mark.parametrize("text", ["{}", "[]", '{"peak_mb": "much"}'])
def test_a_damaged_record_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "fold0.json").write_text(text)
    with pytest.raises(InputError, match="has no peak_mb"):
        peak_mb(tmp_path / "fold0.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"networks": ()}, "no networks"), ({"networks": ("vgg",)}, "vgg"), ({"folds": 4, "of": 3}, "4 folds of 3")],
)
def test_impossible_requests(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    known: dict[str, Any] = {"dataset": tmp_path, "out": tmp_path, "networks": ("tiny",)}
    with pytest.raises(InputError, match=words) as raised:
        CompareRequest(**known | changes)
    assert "--" not in str(raised.value)


def test_one_value_is_one_cell_and_an_unknown_peak_is_a_dash() -> None:
    def scores(shift: float) -> list[ClassScore]:
        return [
            ClassScore(f"c{n}", "ball", (1,), 0.5 + n / 20 + shift, 0.4, 2.0, 1.0, 0.8, 5, 1, 1, 1.0, 1.0)
            for n in range(5)
        ]

    contestants = [
        Contestant(name, summarise(scores(shift), 2.0), (((1.0, 0.6),),), 1.0, 10, math.nan, 10**6, 10**9, 0.1)
        for name, shift in (("good", 0.1), ("worse", 0.0))
    ]
    header, rows = comparison_table(contestants)
    assert [len(row) for row in rows] == [len(header)] * 2
    assert dict(zip(header, rows[0], strict=True))["peak GB"] == "-"
    behind = dict(zip(header, rows[1], strict=True))["behind the best by"]
    assert behind.startswith("0.100 (") and " to " in behind
    assert comparison_document(contestants, {})["networks"][0]["network"] == "good"
