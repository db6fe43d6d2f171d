"""The trainings of a comparison, each in a process of its own: a network that fails takes nothing with it."""

from __future__ import annotations

import json
from pathlib import Path

from unetr.core.files.atomic import write_text
from unetr.core.observer import Observer
from unetr.core.text.reading import read_json
from unetr.errors import InputError, UnetrError
from unetr.jobs.apart.registry import TRAIN, TrainRequest
from unetr.jobs.apart.run_apart import attempt_apart
from unetr.jobs.compare.request import CompareRequest


def train_all(request: CompareRequest, observer: Observer) -> list[str]:
    """Trains what is not trained yet. Returns a line for each training that failed; the others go on.

    Raises what stops this process, StoppedError for the observer's wish; the training that runs is stopped with it and
    saves its state.
    """
    failed = []
    wanted = [(name, fold) for fold in range(request.folds) for name in request.networks]
    for number, (name, fold) in enumerate(wanted):
        observer.on_stage("training", number, len(wanted))
        record = request.record_of(name, fold)
        if record.exists():
            continue
        observer.on_note(f"{name}, fold {fold}: training")
        log = request.log_of(name, fold)
        done = attempt_apart(TRAIN, _training(request, name, fold), observer, log=log)
        if isinstance(done, UnetrError):
            failed.append(f"{name}, fold {fold}: failed: {done}; see {log}")
            observer.on_note(failed[-1])
        else:
            write_text(record, json.dumps({"peak_mb": done.peak_mb}))
    observer.on_stage("training", len(wanted), len(wanted))
    return failed


def is_done(request: CompareRequest, network: str) -> bool:
    """Whether all its folds are trained."""
    return all(request.record_of(network, fold).exists() for fold in range(request.folds))


def peak_mb(record: Path) -> float | None:
    """Of a training that is done; None where the system did not tell. Raises InputError for a record that is not whole.

    10^6 bytes.
    """
    found = read_json(record, "what a training took of memory")
    if not isinstance(found, dict) or not isinstance(found.get("peak_mb", ""), int | float | None):
        raise InputError(f"{record}: has no peak_mb; remove it to train this network again")
    peak: float | None = found["peak_mb"]
    return peak


def _training(request: CompareRequest, name: str, fold: int) -> TrainRequest:
    return TrainRequest(
        dataset=request.dataset,
        out=request.run_of(name, fold),
        plan=request.plan_of(name),
        minutes=request.minutes,
        fold=fold,
        folds=request.of,
        seed=request.seed,
    )
