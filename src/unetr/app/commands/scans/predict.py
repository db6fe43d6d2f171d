"""unetr predict: a model and scans in, label files on the scans' own grids out."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.options import Device, Engine, Json, Overwrite, Precision, TransformName, transform_named
from unetr.app.printing import print_json, print_table, say, write_line
from unetr.errors import BatchError, InputError

if TYPE_CHECKING:
    from unetr.jobs.predict.report import CaseRecord


def predict(
    inputs_: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL... SCANS",
            help="Models, their names, runs (all averaged), then a scan, zip or folder of DICOM, folder of these, CSV.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Label file, or folder for a folder of scans.")],
    tta: Annotated[bool, typer.Option("--tta", help="Average over the mirrors that the plan allows.")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write CASE_probabilities.nii.gz.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write CASE_uncertainty.nii.gz, 0 (sure) to 1 (a guess).")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse scans that do not look like the training scans.")
    ] = False,
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", help="Of the whole process, such as 4GB; refuse what cannot fit.")
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Also write an overlay picture NAME.png.")] = False,
    stats: Annotated[
        Path | None, typer.Option(help="Write volumes and confidence of each case to this CSV file.")
    ] = None,
    result_format: Annotated[
        str, typer.Option("--format", help="nifti (or the scan's own format); for DICOM also dicom-seg, rtstruct.")
    ] = "nifti",
    series: Annotated[
        list[str] | None, typer.Option("--series", help="SeriesInstanceUID; once for each channel of the model.")
    ] = None,
    continued: Annotated[
        bool, typer.Option("--continue", help="Skip what report.json proves to be finished and unchanged.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Where the report goes; OUT/report.json for a folder of scans.")
    ] = None,
    overwrite: Overwrite = False,
    assume_affine: Annotated[
        bool, typer.Option("--assume-affine", help="Accept scans without orientation: take axes as R, A, S.")
    ] = False,
    accept_shear: Annotated[
        bool, typer.Option("--accept-shear", help="Accept scans whose axes are not perpendicular, on their own grid.")
    ] = False,
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
    from unetr.app.predict_files import alone, output_files
    from unetr.app.predict_options import PredictOptions
    from unetr.app.predict_run import Job, claim_outputs, run_job
    from unetr.core.files.atomic import remove_leftovers
    from unetr.infer.load import load, model_paths
    from unetr.infer.route import parse_memory
    from unetr.jobs.predict.report import REPORT_NAME
    from unetr.prepare.datasets.cases import prediction_inputs

    if len(inputs_) < 2:
        raise InputError(f"{inputs_[0]}: is the only path given; expected a model, then a scan or a folder of scans")
    *given, scans = inputs_
    models = tuple(path for model in given for path in model_paths(model))
    options = PredictOptions(
        engine=engine,
        device=device,
        precision=precision,
        tta=tta,
        probabilities=probabilities,
        uncertainty=uncertainty,
        strict=strict,
        memory_limit_bytes=None if memory_limit is None else parse_memory(memory_limit),
        preview=preview,
        assume_affine=assume_affine,
        accept_shear=accept_shear,
        transform=transform_named(transform),
        series=tuple(series or ()),
        result_format=result_format,
    )
    segmenter = load(models, engine=engine, device=device, precision=precision)
    inputs = prediction_inputs(scans, segmenter.plan.in_channels, options.series)
    files = output_files(inputs, scans, out, options)
    if report is None and not inputs.single:
        report = out / REPORT_NAME
    if continued and report is None:
        raise InputError(f"{scans}: is a single scan; --continue needs a folder of scans, or --report")
    notes: list[str] = []
    announce = notes.append if as_json else write_line
    job = Job(segmenter, models, inputs, files, options, report, continued, announce)
    tables = [] if stats is None else [stats]
    with alone(None if inputs.single else out, [*job.outputs, *tables], say):
        claim_outputs(job, scans, tables, overwrite=overwrite)
        if continued:
            remove_leftovers({path.parent for path in job.outputs})
        records = run_job(job)
        finished = {name: record for name, record in records.items() if record.finished}
        failed = {name: record.error for name, record in records.items() if record.state == "failed"}
        if as_json:
            _print_json(notes, finished, failed, {name: files[name]["label"] for name in finished}, report)
        else:
            _print_volumes(finished)
        if stats is not None:
            _write_stats(stats, finished)  # last, so that what cannot be written is seen all the same
    if failed:
        raise BatchError(f"{scans}: {len(failed)} of {len(records)} scans failed: {', '.join(sorted(failed))}")


def _print_json(
    notes: list[str],
    finished: Mapping[str, CaseRecord],
    failed: Mapping[str, str | None],
    files: Mapping[str, Path],
    report: Path | None,
) -> None:
    print_json(
        {
            "notes": notes,
            "volumes_ml": {name: record.volumes_ml for name, record in finished.items()},
            "confidence": {name: record.confidence for name, record in finished.items()},
            "verdicts": {name: record.verdict for name, record in finished.items()},
            "warnings": {name: [*record.warnings, *record.notes] for name, record in finished.items()},
            "files": {name: str(path) for name, path in files.items()},
            "skipped": [name for name, record in finished.items() if record.state == "skipped"],
            "failed": dict(failed),
            "report": None if report is None else str(report),
        }
    )


def _print_volumes(finished: Mapping[str, CaseRecord]) -> None:
    if not finished:
        return
    names = list(next(iter(finished.values())).volumes_ml)
    rows = [(case, *(f"{record.volumes_ml[name]:.3f}" for name in names)) for case, record in finished.items()]
    print_table("volumes in ml", ("case", *names), rows)


def _write_stats(path: Path, finished: Mapping[str, CaseRecord]) -> None:
    from unetr.core.files.atomic import write_text
    from unetr.core.text.printable import csv_cell

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "label", "volume_ml", "confidence"])
    for case, record in finished.items():
        for name, value in record.volumes_ml.items():
            sure = record.confidence.get(name)
            writer.writerow([csv_cell(case), csv_cell(name), f"{value:.6g}", "" if sure is None else f"{sure:.4f}"])
    write_text(path, text.getvalue())
