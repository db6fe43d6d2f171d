"""unetr predict: a model and scans in, label files on the scans' own grids out."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.options import Device, Engine, Json, ModelPath, Precision, print_json, print_table, progress, say
from unetr.errors import BatchError, InputError

if TYPE_CHECKING:
    from unetr.infer.predict import Prediction
    from unetr.prepare.cases import Case


def predict(
    model: ModelPath,
    scans: Annotated[Path, typer.Argument(help="A scan, or a folder of scans.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Label file, or folder for a folder of scans.")],
    tta: Annotated[bool, typer.Option("--tta", help="Average over the mirrors that the plan allows.")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write CASE_probabilities.nii.gz.")
    ] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Also write an overlay picture NAME.png.")] = False,
    stats: Annotated[Path | None, typer.Option(help="Write the volumes of each case to this CSV file.")] = None,
    assume_affine: Annotated[
        bool, typer.Option("--assume-affine", help="Accept scans without orientation: take axes as R, A, S.")
    ] = False,
    accept_shear: Annotated[
        bool, typer.Option("--accept-shear", help="Accept scans whose axes are not perpendicular, on their own grid.")
    ] = False,
    engine: Engine = "torch",
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Segment scans. Each label file has its scan's grid and carries the label names.

    In a folder, a scan that cannot be used is reported and the others finish (exit code 3).

    Example: unetr predict model.safetensors scan.nii.gz -o segmentation.nii.gz
    """
    from unetr.infer.predict import load
    from unetr.prepare.cases import prediction_inputs

    segmenter = load(model, engine=engine, device=device, precision=precision)
    cases = prediction_inputs(scans, len(segmenter.plan.channels))
    single = scans.is_file()
    files = {case.id: _files(_target(case, out, single), probabilities, preview) for case in cases}
    _refuse_overwriting(cases, [path for of_case in files.values() for path in of_case.values()])

    def segment(case: Case) -> dict[str, float]:
        result = segmenter.predict(
            case.images,
            tta=tta,
            probabilities=probabilities,
            assume_affine=assume_affine,
            accept_shear=accept_shear,
        )
        _write(result, files[case.id])
        return result.volumes_ml

    volumes, failed = _each(cases, segment, single)
    if stats is not None:
        _write_stats(stats, volumes)
    if as_json:
        written = {name: str(files[name]["label"]) for name in volumes}
        print_json({"volumes_ml": volumes, "files": written, "failed": failed})
    else:
        _print_volumes(volumes)
    if failed:
        raise BatchError(f"{scans}: {len(failed)} of {len(cases)} scans failed: {', '.join(sorted(failed))}")


def _target(case: Case, out: Path, single: bool) -> Path:
    """The label file of a case: OUT itself for a single scan and a file name, else OUT/CASE with the scan's suffix."""
    from unetr.io import FORMATS, is_scan, scan_suffix

    if is_scan(out) and not out.is_dir():
        if single:
            return out
        raise InputError(f"{out}: is named like a scan; expected a folder, since the input is a folder")
    if single and out.suffix and not out.is_dir():
        raise InputError(f"{out}: unknown format; expected a name ending in {', '.join(FORMATS)}, or a folder")
    return out / f"{case.id}{scan_suffix(case.images[0])}"


def _files(target: Path, probabilities: bool, preview: bool) -> dict[str, Path]:
    """What is written for a case -> where."""
    from unetr.io import case_name

    extras = {"probabilities": (probabilities, "_probabilities.nii.gz"), "preview": (preview, ".png")}
    files = {what: target.with_name(f"{case_name(target)}{end}") for what, (wanted, end) in extras.items() if wanted}
    return {**files, "label": target}


def _refuse_overwriting(cases: list[Case], files: list[Path]) -> None:
    """Raises InputError when a file would take the place of a scan or of another file of the same batch."""
    scans = {path.resolve() for case in cases for path in case.images}
    for path, times in Counter(files).items():
        if path.resolve() in scans:
            raise InputError(f"{path}: is a scan and would be overwritten; choose another output")
        if times > 1:
            raise InputError(f"{path}: would be written for two cases; rename one of the scans")


def _each(
    cases: list[Case], segment: Callable[[Case], dict[str, float]], single: bool
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Segments one case after another: the volumes of those that worked, the errors of those that did not."""
    volumes: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    with progress() as bar:
        task = bar.add_task("predicting", total=len(cases), note="")
        for case in cases:
            bar.update(task, note=case.id)
            try:
                volumes[case.id] = segment(case)
            except InputError as error:
                if single:
                    raise
                failed[case.id] = str(error)
                say(f"unetr: {error}")
            bar.advance(task)
    return volumes, failed


def _write(result: Prediction, files: dict[str, Path]) -> None:
    """The extras go first: when the label file is there, all of them are."""
    from unetr.app.pictures import write_preview
    from unetr.io import write_volume

    if result.probabilities is not None:
        write_volume(files["probabilities"], result.probabilities)
    if "preview" in files:
        write_preview(files["preview"], result)
    result.save(files["label"])


def _print_volumes(volumes: dict[str, dict[str, float]]) -> None:
    if not volumes:
        return
    names = list(next(iter(volumes.values())))
    rows = [(case, *(f"{found[name]:.3f}" for name in names)) for case, found in volumes.items()]
    print_table("volumes in ml", ("case", *names), rows)


def _write_stats(path: Path, volumes: dict[str, dict[str, float]]) -> None:
    from unetr.core.files import write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "label", "volume_ml"])
    writer.writerows([case, name, f"{value:.6g}"] for case, found in volumes.items() for name, value in found.items())
    write_text(path, text.getvalue())
