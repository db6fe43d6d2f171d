"""unetr predict: a model and scans in, label files on the scans' own grids out."""

from __future__ import annotations

import csv
import io
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
    targets = {case.id: _target(case, out, single) for case in cases}
    _refuse_overwriting(cases, targets)
    volumes: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    with progress() as bar:
        task = bar.add_task("predicting", total=len(cases), note="")
        for case in cases:
            bar.update(task, note=case.id)
            try:
                result = segmenter.predict(
                    case.images, tta=tta, probabilities=probabilities, assume_affine=assume_affine
                )
                _write(result, targets[case.id], preview)
                volumes[case.id] = result.volumes_ml
            except InputError as error:
                if single:
                    raise
                failed[case.id] = str(error)
                say(f"unetr: {error}")
            bar.advance(task)
    if stats is not None:
        _write_stats(stats, volumes)
    if as_json:
        written = {name: str(targets[name]) for name in volumes}
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


def _refuse_overwriting(cases: list[Case], targets: dict[str, Path]) -> None:
    """Raises InputError when a label file would take the place of a scan."""
    scans = {path.resolve() for case in cases for path in case.images}
    for target in targets.values():
        if target.resolve() in scans:
            raise InputError(f"{target}: is a scan and would be overwritten; choose another output")


def _write(result: Prediction, target: Path, preview: bool) -> None:
    """The extras go first: when the label file is there, all of them are."""
    from unetr.io import scan_suffix, write_volume

    stem = target.name.removesuffix(scan_suffix(target))
    if result.probabilities is not None:
        write_volume(target.with_name(f"{stem}_probabilities.nii.gz"), result.probabilities)
    if preview:
        from unetr.app.pictures import write_preview

        write_preview(target.with_name(f"{stem}.png"), result)
    result.save(target)


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
