"""unetr predict: a model and scans in, label files on the scans' own grids out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unetr.app.commands.scans import predict_options as own
from unetr.app.options import Device, Engine, Json, Overwrite, Precision, TransformName, transform_named
from unetr.errors import BatchError, InputError

if TYPE_CHECKING:
    from unetr.infer.predict import Segmenter
    from unetr.jobs.predict.request import PredictRequest


def predict(
    inputs_: own.Paths,
    out: own.Out,
    tta: own.Tta = False,
    probabilities: own.Probabilities = False,
    uncertainty: own.Uncertainty = False,
    strict: own.Strict = False,
    memory_limit: own.MemoryLimit = None,
    preview: own.Preview = False,
    stats: own.Stats = None,
    form: own.ResultFormat = "nifti",
    series: own.Series = None,
    resume: own.Resume = False,
    report: own.ReportPath = None,
    overwrite: Overwrite = False,
    assume_affine: own.AssumeAffine = False,
    accept_shear: own.AcceptShear = False,
    transform: TransformName = None,
    engine: Engine = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Segment scans. Each label file has its scan's grid and carries the label names.

    In a folder, a scan that cannot be used is reported and the others finish (exit code 3). OUT/report.json names
    every case. Own results of the same names are replaced; with --continue only where they are not proven finished.

    Example: unetr predict model.safetensors scan.nii.gz -o segmentation.nii.gz
    """
    from unetr.infer.load import load
    from unetr.infer.options import ComputeKeywords, ReadKeywords
    from unetr.infer.route import parse_memory
    from unetr.jobs.predict.request import PredictRequest, WriteKeywords

    *models, scans = inputs_
    if not models:
        raise InputError(f"{scans}: is the only path given; expected a model, then a scan or a folder of scans")
    limit = None if memory_limit is None else parse_memory(memory_limit)
    compute = ComputeKeywords(tta=tta, probabilities=probabilities, uncertainty=uncertainty, memory_limit_bytes=limit)
    read = ReadKeywords(strict=strict, assume_affine=assume_affine, accept_shear=accept_shear)
    read |= ReadKeywords(transform=transform_named(transform), series=tuple(series or ()))
    write = WriteKeywords(format=form, preview=preview, stats=stats, report=report, resume=resume, overwrite=overwrite)
    request = PredictRequest(scans=scans, out=out, **compute, **read, **write)
    _predict(load(models, engine=engine, device=device, precision=precision), request, as_json=as_json)


def _predict(segmenter: Segmenter, request: PredictRequest, *, as_json: bool) -> None:
    from unetr.app.views.prediction import PredictionView
    from unetr.jobs.predict.job import predict_scans

    with PredictionView(as_json=as_json) as view:
        outcome = predict_scans(segmenter, request, view)
    failed = sorted(outcome.failed)
    if failed:
        raise BatchError(f"{request.scans}: {len(failed)} of {len(outcome.records)} scans failed: {', '.join(failed)}")
