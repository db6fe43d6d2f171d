"""Where `unetr predict` writes what, and the writing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.app.predict_options import RESULT_FORMATS, PredictOptions
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.core.space.volume import Volume
    from unetr.infer.predict import Prediction
    from unetr.prepare.datasets.cases import Case, Inputs

_DICOM = ".dcm"


def output_files(inputs: Inputs, scans: Path, out: Path, options: PredictOptions) -> dict[str, dict[str, Path]]:
    """Case id -> what is written for it ("label" and the extras) -> where.

    Raises InputError for an output whose name does not fit, and for one among the DICOM files that are read.
    """
    if RESULT_FORMATS[options.result_format] and not inputs.dicom:
        raise InputError(
            f"{scans}: is no DICOM, which --format {options.result_format} must refer to; expected DICOM, or "
            "--format nifti"
        )
    _check_out(out, inputs, options)
    files = {case.id: _files(_target(case, inputs, out, options), options) for case in inputs.cases}
    every = [path for of_case in files.values() for path in of_case.values()]
    if inputs.dicom and scans.is_dir():
        inside = [path for path in every if path.resolve().is_relative_to(scans.resolve())]
        if inside:
            raise InputError(f"{inside[0]}: would lie among the DICOM files that are read; choose another output")
    return files


@contextmanager
def alone(folder: Path | None, files: Sequence[Path], note: Callable[[str], None]) -> Iterator[None]:
    """Keeps other processes from writing the same: into the whole folder, where it is given, and each file elsewhere.

    Raises InputError where another one is at it.
    """
    from unetr.core.files.lock import locked, locked_files, refuse_locked

    apart = [path for path in files if folder is None or path.parent.resolve() != folder.resolve()]
    with ExitStack() as held:
        if folder is not None:
            held.enter_context(locked(folder, note, 0o700))
        held.enter_context(locked_files(apart, note, 0o700))
        for parent in {path.parent for path in apart}:
            refuse_locked(parent)
        yield


def write_prediction(result: Prediction, files: Mapping[str, Path], options: PredictOptions, model: str) -> None:
    """The extras go first: when the label file is there, all of them are. model: its name. Raises MachineError."""
    from unetr.io import write_volume

    if result.probabilities is not None and "probabilities" in files:
        write_volume(files["probabilities"], result.probabilities)
    if result.uncertainty is not None and "uncertainty" in files:
        write_volume(files["uncertainty"], result.uncertainty)
    if "preview" in files:
        result.preview(files["preview"])
    if options.result_format == "nifti":
        result.save(files["label"])
    else:
        _write_dicom(files["label"], result.labels, options.result_format, model)


def _write_dicom(path: Path, labels: Volume, result_format: str, model: str) -> None:
    from unetr import __version__

    if result_format == "rtstruct":
        from unetr.io.dicom.results.rtstruct import write_rtstruct

        write_rtstruct(path, labels, algorithm=f"unetr {model}", algorithm_version=__version__)
    else:
        from unetr.io.dicom.results.seg import write_dicom_seg

        write_dicom_seg(path, labels, algorithm=f"unetr {model}", algorithm_version=__version__)


def _is_result_name(path: Path, options: PredictOptions) -> bool:
    from unetr.io import is_scan

    return path.name.lower().endswith(_DICOM) if RESULT_FORMATS[options.result_format] else is_scan(path)


def _check_out(out: Path, inputs: Inputs, options: PredictOptions) -> None:
    """Raises InputError where OUT is named like a file that it cannot be."""
    from unetr.io import FORMATS

    if out.is_dir():
        return
    if not inputs.single and _is_result_name(out, options):
        raise InputError(f"{out}: is named like a scan; expected a folder, since the input is a folder")
    if inputs.single and out.suffix and not _is_result_name(out, options):
        expected = _DICOM if RESULT_FORMATS[options.result_format] else ", ".join(FORMATS)
        raise InputError(f"{out}: unknown format; expected a name ending in {expected}, or a folder")


def _target(case: Case, inputs: Inputs, out: Path, options: PredictOptions) -> Path:
    """The label file of a case: OUT itself for a single scan and a file name, else OUT/CASE with a suffix."""
    from unetr.io import is_scan, scan_suffix

    if inputs.single and not out.is_dir() and _is_result_name(out, options):
        return out
    scans_own = scan_suffix(case.images[0]) if is_scan(case.images[0]) else ".nii.gz"
    return out / f"{case.id}{RESULT_FORMATS[options.result_format] or scans_own}"


def _files(target: Path, options: PredictOptions) -> dict[str, Path]:
    """What is written for a case -> where."""
    from unetr.io import FORMATS

    ends = (RESULT_FORMATS[options.result_format] or _DICOM, _DICOM, *FORMATS)
    end = next(end for end in ends if target.name.lower().endswith(end))
    name = target.name[: -len(end)]
    extras = {
        "probabilities": (options.probabilities, f"{name}_probabilities.nii.gz"),
        "uncertainty": (options.uncertainty, f"{name}_uncertainty.nii.gz"),
        "preview": (options.preview, f"{name}.png"),
    }
    return {**{what: target.with_name(file) for what, (wanted, file) in extras.items() if wanted}, "label": target}
