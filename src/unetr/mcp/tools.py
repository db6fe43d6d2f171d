"""What the tools do, without a protocol: facts of models and scans, a segmentation, and what is known of a result."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.errors import InputError
from unetr.mcp.answers import (
    ModelAnswer,
    ScanAnswer,
    SegmentAnswer,
    VerdictAnswer,
    VolumesAnswer,
    model_answer,
    scan_answer,
    undescribed_errors,
    verdict_answer,
)
from unetr.mcp.folders import Folders, plain_name

if TYPE_CHECKING:
    from unetr.infer.predict import Segmenter
    from unetr.jobs.models.describe import ModelFacts
    from unetr.jobs.predict.observer import PredictObserver
    from unetr.jobs.predict.report import CaseRecord
    from unetr.jobs.predict.request import PredictRequest

_REPORT = "_report.json"
_MOST_TRIED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What of a segmentation may be chosen. name: of the result, without ending; empty for one made of the scan's."""

    scan: str
    model: str
    name: str = ""
    format: str = "nifti"
    series: tuple[str, ...] = ()
    strict: bool = False
    assume_affine: bool = False


class Tools:
    """models: name -> what `unetr.load` opens. Safe to use from several threads; one segments at a time."""

    def __init__(self, folders: Folders, models: Mapping[str, Path]) -> None:
        self._folders = folders
        self._models = dict(models)
        self._facts = {name: _model_facts(path) for name, path in self._models.items()}
        self._warm: dict[str, Segmenter] = {}
        self._alone = threading.Lock()

    def list_models(self) -> dict[str, ModelAnswer]:
        """Every model by its name."""
        return {name: model_answer(facts) for name, facts in self._facts.items()}

    def describe_scan(self, path: str) -> ScanAnswer:
        """Raises InputError for what is no scan, DICOM, or folder of these."""
        from unetr.io import is_dicom, is_scan

        found = self._folders.find(path)
        if found.is_dir():
            self._folders.check_below(found)
        if not (found.is_dir() or is_scan(found) or is_dicom(found)):
            raise InputError(f"{path}: is no scan; expected a scan, DICOM, or a folder of these")
        with undescribed_errors():
            return scan_answer(found)

    def segment(self, ask: Ask, observer: PredictObserver) -> SegmentAnswer:
        """Segments one scan into the folder for results. Raises InputError, MachineError, StoppedError."""
        from unetr.io.results import RESULT_FORMATS, known_result_format
        from unetr.jobs.predict.job import predict_scans
        from unetr.jobs.predict.request import PredictRequest

        known_result_format(ask.format)
        ending = RESULT_FORMATS[ask.format].ending or ".nii.gz"
        scan = self._folders.find(ask.scan)
        self._target(ask, scan, ending)  # before the model is opened, which takes longer
        segmenter = self._segmenter(ask.model)
        with undescribed_errors(), self._alone:
            self._check_one(scan, ask, segmenter)
            target = self._target(ask, scan, ending)  # what was free may have been taken while another one segmented
            request = PredictRequest(
                scans=scan,
                out=target,
                format=ask.format,
                report=_report_of(target, ending),
                series=ask.series,
                strict=ask.strict,
                assume_affine=ask.assume_affine,
            )
            with _without_report_of_nothing(request):
                outcome = predict_scans(segmenter, request, observer)
        record = next(iter(outcome.finished.values()))
        return SegmentAnswer(
            result=str(target), model=ask.model, volumes_ml=record.volumes_ml, verdict=verdict_answer(record, True)
        )

    def volumes(self, result: str) -> VolumesAnswer:
        """Raises InputError for what is no label file."""
        path = self._folders.find(result)
        record, unchanged = self._record(path)
        if record is not None and unchanged:
            return VolumesAnswer(volumes_ml=record.volumes_ml, source="prediction")
        return VolumesAnswer(volumes_ml=_counted_ml(path), source="counted")

    def verdict(self, result: str) -> VerdictAnswer:
        """Raises InputError for a file that no segmentation of this server has written."""
        record, unchanged = self._record(self._folders.find(result))
        if record is None:
            raise InputError(f"{result}: has no report beside it; expected a result of the tool segment")
        return verdict_answer(record, unchanged)

    def _segmenter(self, name: str) -> Segmenter:
        from unetr.infer.load import load

        if name not in self._models:
            raise InputError(f"{name[:60]!r}: is no model here; expected one of {', '.join(self._models)}")
        with self._alone:
            if name not in self._warm:
                self._warm[name] = load(self._models[name])
            return self._warm[name]

    def _check_one(self, scan: Path, ask: Ask, segmenter: Segmenter) -> None:
        """Raises InputError unless the path is one scan whose files all lie in the folders."""
        from unetr.io import is_dicom, is_scan
        from unetr.prepare.datasets.inputs import prediction_inputs

        if scan.is_dir():
            self._folders.check_below(scan)
        elif not (is_scan(scan) or is_dicom(scan)):  # a table could name files anywhere
            raise InputError(f"{ask.scan}: is no scan; expected a scan file or DICOM")
        inputs = prediction_inputs(scan, segmenter.plan.in_channels, ask.series)
        if not inputs.single:
            raise InputError(f"{ask.scan}: is a folder of several scans; expected one of them")
        for path in inputs.cases[0].images:
            self._folders.find(str(path))

    def _target(self, ask: Ask, scan: Path, ending: str) -> Path:
        """The file of the result, of which neither it nor a report is there yet. Raises InputError."""
        if ask.name:
            target = self._result(ask.name, ending)
            if not _is_free(target, ending):
                raise InputError(
                    f"{ask.name}: there is a result of this name; give another, or none for one that is free"
                )
            return target
        stem = plain_name(Path(_stem(scan)))
        for number in range(1, _MOST_TRIED):
            target = self._result(stem if number == 1 else f"{stem}-{number}", ending)
            if _is_free(target, ending):
                return target
        raise InputError(f"{stem}: there are {_MOST_TRIED} results of this name; give another")

    def _result(self, name: str, ending: str) -> Path:
        target = self._folders.result(name)
        return target.with_name(target.name + ending)

    def _record(self, path: Path) -> tuple[CaseRecord | None, bool]:
        """What was noted when a result was written, and whether its bytes are still the same."""
        from unetr.core.files.digest import file_sha256
        from unetr.io.results import RESULT_FORMATS
        from unetr.jobs.predict.report import read_report

        endings = [form.ending or ".nii.gz" for form in RESULT_FORMATS.values()]
        ending = next((end for end in endings if path.name.endswith(end)), None)
        report = None if ending is None else _report_of(path, ending)
        if report is None or not report.is_file() or report.is_symlink():
            return None, False
        noted = read_report(report)
        for record in () if noted is None else noted.cases:
            for output in record.outputs:
                if output.file == path.name:
                    return record, output.sha256 == file_sha256(path)
        return None, False


def _report_of(result: Path, ending: str) -> Path:
    return result.with_name(result.name.removesuffix(ending) + _REPORT)


def _is_free(result: Path, ending: str) -> bool:
    """Whether a result may have this name: results of two formats would share one report."""
    return not (result.exists() or _report_of(result, ending).exists())


@contextmanager
def _without_report_of_nothing(request: PredictRequest) -> Iterator[None]:
    """Where there is no result, no report of it is left, either."""
    try:
        yield
    except BaseException:
        if request.report is not None and not request.out.exists():
            request.report.unlink(missing_ok=True)
        raise


def offered(models: Sequence[str]) -> dict[str, Path]:
    """Name -> file or run, of models that a person named: a shipped one's name, else the file's or run's own.

    Without any, those that come with the package. Raises InputError where there is none, or two have one name.
    """
    from unetr.infer.load import model_paths
    from unetr.model.shipped import shipped_models

    found: dict[str, Path] = {}
    for given in models or [model.name for model in shipped_models()]:
        path = Path(given)
        name = path.resolve().parent.name if path.name == "model.safetensors" else path.stem or path.resolve().name
        if name in found:
            raise InputError(f"{given}: is a second model of the name {name}; rename one of the files")
        if not all(one.exists() for one in model_paths(path)):
            raise InputError(f"{given}: no such file; expected a model, a run, or a name that unetr models lists")
        found[name] = path
    return found


def _stem(scan: Path) -> str:
    from unetr.io import case_name, is_scan

    return case_name(scan) if is_scan(scan) else scan.name if scan.is_dir() else scan.stem


def _model_facts(path: Path) -> ModelFacts:
    from unetr.infer.load import model_paths
    from unetr.jobs.models.describe import ModelFacts, describe

    facts = describe(model_paths(path)[0])
    if not isinstance(facts, ModelFacts):
        raise InputError(f"{path}: is no model; expected a model file")
    return facts


def _counted_ml(path: Path) -> dict[str, float]:
    """Name, or value where it has none -> millilitres of the voxels with each value but 0. Raises InputError."""
    import numpy as np

    from unetr.io import is_scan, read_label

    if not is_scan(path):
        raise InputError(f"{path}: is no label file whose voxels can be counted; expected a volume such as .nii.gz")
    labels = read_label(path)
    values, counts = np.unique(labels.data, return_counts=True)
    named = labels.label_names
    return {
        named.get(int(value), str(int(value))): int(count) * labels.voxel_ml
        for value, count in zip(values, counts, strict=True)
        if value
    }
