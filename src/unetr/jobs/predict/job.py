"""Predicting a file or a folder: what is read, computed, written, skipped and reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from unetr.core.files.atomic import remove_leftovers
from unetr.errors import InputError
from unetr.infer.load import load
from unetr.infer.predict import Segmenter
from unetr.jobs.predict.ledger import open_ledger
from unetr.jobs.predict.observer import PredictObserver
from unetr.jobs.predict.outputs import Outputs, alone, claim_outputs, output_files
from unetr.jobs.predict.pipeline import run_pipeline
from unetr.jobs.predict.report import REPORT_NAME, write_table
from unetr.jobs.predict.request import PredictOutcome, PredictRequest, RequestKeywords
from unetr.jobs.predict.stages import STAGE, Stages
from unetr.prepare.datasets.cases import prediction_inputs


def predict(
    model: str | Path | Sequence[str | Path] | Segmenter,
    scans: str | Path,
    out: str | Path,
    *,
    observer: PredictObserver | None = None,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    **options: Unpack[RequestKeywords],
) -> PredictOutcome:
    """Segments a scan, or every scan of a folder, into label files on the scans' own grids.

    model: a model file, the name of a shipped model, the folder of a run, several of these (their mean is taken), or
    what `unetr.load` returned, which spares opening it again. options: those of `PredictRequest`. observer: hears how
    it goes, and may end it. In a folder, a scan that cannot be used is in the outcome's `failed`; the others finish.
    Raises InputError (a single scan or what was asked for cannot be used), MachineError (the machine refuses),
    StoppedError (the observer asked to stop); what is finished then stays.

    >>> outcome = unetr.predict("hippocampus", "scans", "predicted", preview=True)
    >>> {case: record.state for case, record in outcome.records.items()}
    {'case_a': 'done', 'case_b': 'done'}
    >>> outcome.files["case_a"]["label"].name, outcome.failed
    ('case_a.nii.gz', {})
    >>> again = unetr.predict("hippocampus", "scans", "predicted", preview=True, resume=True)
    >>> [record.state for record in again.records.values()]
    ['skipped', 'skipped']
    """
    request = PredictRequest(scans=Path(scans), out=Path(out), **options)
    if not isinstance(model, Segmenter):
        model = load(model, engine=engine, device=device, precision=precision)
    return predict_scans(model, request, observer or PredictObserver())


def predict_scans(segmenter: Segmenter, request: PredictRequest, observer: PredictObserver) -> PredictOutcome:
    """What `predict` does, by a model that is open. Raises as it does."""
    inputs = prediction_inputs(request.scans, segmenter.plan.in_channels, request.series)
    files = output_files(inputs, request)
    report = request.report
    if report is None and not inputs.single:
        report = request.out / REPORT_NAME
    if request.resume and report is None:
        raise InputError(
            f"{request.scans}: is a single scan, which has no report to resume by unless one is asked for",
            hint="report",
        )
    outputs = Outputs(files, report, request.stats)
    with alone(None if inputs.single else request.out, outputs, observer.on_note):
        claim_outputs(outputs, inputs, segmenter.files, request)
        if request.resume:
            remove_leftovers({path.parent for path in outputs.of_cases()})
        ledger = open_ledger(report, segmenter, request, inputs, files, observer)
        for name in inputs.problems:
            observer.on_case_failed(ledger[name])
        observer.on_stage(STAGE, 0, len(inputs.cases))
        stages = Stages(segmenter, request, files, ledger, observer, single=inputs.single)
        run_pipeline(inputs.cases, stages.read, stages.compute, stages.write, stages.finish, stages.read_alone)
        outcome = PredictOutcome(ledger.records(), files, report)
        observer.on_finished(outcome)
        if request.stats is not None:
            write_table(request.stats, outcome.finished)
    return outcome
