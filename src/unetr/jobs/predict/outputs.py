"""Where a prediction writes what, that nobody else writes there, and the writing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.core.files.digest import file_sha256
from unetr.core.files.lock import locked, locked_files, refuse_locked
from unetr.core.files.outputs import claim, read_list
from unetr.errors import InputError
from unetr.io import FORMATS, is_scan, scan_suffix, write_volume
from unetr.io.results import DICOM_SUFFIX, RESULT_FORMATS
from unetr.jobs.predict.report import read_report
from unetr.jobs.predict.request import PredictRequest

if TYPE_CHECKING:
    from unetr.infer.predict import Prediction
    from unetr.prepare.datasets.cases import Case, Inputs


@dataclass(frozen=True, slots=True)
class Outputs:
    """All files that a prediction may write.

    files: case id -> what ("label" and the extras) -> where. report, stats: where they are written.
    """

    files: Mapping[str, Mapping[str, Path]]
    report: Path | None
    stats: Path | None

    def of_cases(self) -> list[Path]:
        """The files of the cases, and the report."""
        files = [path for of_case in self.files.values() for path in of_case.values()]
        return files if self.report is None else [*files, self.report]

    def all(self) -> list[Path]:
        """Every file."""
        return self.of_cases() if self.stats is None else [*self.of_cases(), self.stats]


def output_files(inputs: Inputs, request: PredictRequest) -> dict[str, dict[str, Path]]:
    """Case id -> what is written for it ("label" and the extras) -> where.

    Raises InputError for an output whose name does not fit, and for one among the DICOM files that are read.
    """
    scans = request.scans
    if RESULT_FORMATS[request.format].ending and not inputs.dicom:
        raise InputError(
            f"{scans}: is no DICOM, which format {request.format} must refer to; expected DICOM, or another format",
            hint="format",
        )
    _check_out(inputs, request)
    files = {case.id: _files(_target(case, inputs, request), request) for case in inputs.cases}
    every = [path for of_case in files.values() for path in of_case.values()]
    if inputs.dicom and scans.is_dir():
        inside = [path for path in every if path.resolve().is_relative_to(scans.resolve())]
        if inside:
            raise InputError(f"{inside[0]}: would lie among the DICOM files that are read; choose another output")
    return files


@contextmanager
def alone(folder: Path | None, outputs: Outputs, note: Callable[[str], None]) -> Iterator[None]:
    """Keeps other processes from writing the same: into the whole folder, where it is given, and each file elsewhere.

    Raises InputError where another one is at it.
    """
    apart = [path for path in outputs.all() if folder is None or path.parent.resolve() != folder.resolve()]
    with ExitStack() as held:
        if folder is not None:
            held.enter_context(locked(folder, note, 0o700))
        held.enter_context(locked_files(apart, note, 0o700))
        for parent in {path.parent for path in apart}:
            refuse_locked(parent)
        yield


def claim_outputs(outputs: Outputs, inputs: Inputs, models: tuple[Path, ...], request: PredictRequest) -> None:
    """Raises InputError where a file that is to be written is an input, written twice, or a person's own."""
    scans, report = request.scans, outputs.report
    # Versions that kept no list of outputs named them in the report.
    before = None if report is None else read_report(report)
    known: dict[Path, list[str]] = {}
    if before is not None and report is not None and report.name not in read_list(report.parent):
        known[report] = [file_sha256(report)]
        digests = {output.file: output.sha256 for record in before.cases for output in record.outputs}
        known |= {path: [digests[path.name]] for path in outputs.of_cases() if path.name in digests}
    read = {
        "a scan": [path for case in inputs.cases for path in case.images],
        "what is predicted": [scans, *(scans.iterdir() if scans.is_dir() else ())],
        "a model": [*models, *(model.with_suffix(".bin") for model in models)],
    }
    claim(outputs.all(), read, overwrite=request.overwrite, known=known)


def write_prediction(result: Prediction, files: Mapping[str, Path], result_format: str) -> None:
    """The extras go first: when the label file is there, all of them are. Raises MachineError."""
    if result.probabilities is not None and "probabilities" in files:
        write_volume(files["probabilities"], result.probabilities)
    if result.uncertainty is not None and "uncertainty" in files:
        write_volume(files["uncertainty"], result.uncertainty)
    if "preview" in files:
        result.preview(files["preview"])
    result.save(files["label"], result_format)


def _is_result_name(path: Path, request: PredictRequest) -> bool:
    return path.name.lower().endswith(DICOM_SUFFIX) if RESULT_FORMATS[request.format].ending else is_scan(path)


def _check_out(inputs: Inputs, request: PredictRequest) -> None:
    """Raises InputError where the output is named like a file that it cannot be."""
    out = request.out
    if out.is_dir():
        return
    if not inputs.single and _is_result_name(out, request):
        raise InputError(f"{out}: is named like a scan; expected a folder, since the input is a folder")
    if inputs.single and out.suffix and not _is_result_name(out, request):
        expected = DICOM_SUFFIX if RESULT_FORMATS[request.format].ending else ", ".join(FORMATS)
        raise InputError(f"{out}: unknown format; expected a name ending in {expected}, or a folder")


def _target(case: Case, inputs: Inputs, request: PredictRequest) -> Path:
    """The label file of a case: OUT itself for a single scan and a file name, else OUT/CASE with a suffix."""
    out = request.out
    if inputs.single and not out.is_dir() and _is_result_name(out, request):
        return out
    scans_own = scan_suffix(case.images[0]) if is_scan(case.images[0]) else ".nii.gz"
    return out / f"{case.id}{RESULT_FORMATS[request.format].ending or scans_own}"


def _files(target: Path, request: PredictRequest) -> dict[str, Path]:
    """What is written for a case -> where."""
    ends = (RESULT_FORMATS[request.format].ending or DICOM_SUFFIX, DICOM_SUFFIX, *FORMATS)
    end = next(end for end in ends if target.name.lower().endswith(end))
    name = target.name[: -len(end)]
    extras = {
        "probabilities": (request.probabilities, f"{name}_probabilities.nii.gz"),
        "uncertainty": (request.uncertainty, f"{name}_uncertainty.nii.gz"),
        "preview": (request.preview, f"{name}.png"),
    }
    return {**{what: target.with_name(file) for what, (wanted, file) in extras.items() if wanted}, "label": target}
