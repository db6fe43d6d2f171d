"""What came of each case so far, in memory and, where a report is wanted, in its file after every change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.core.observer import Observer
from unetr.core.version import __version__
from unetr.errors import InputError
from unetr.jobs.predict.report import CaseRecord, Report, digest_of, read_report, write_report
from unetr.jobs.predict.request import PredictRequest

if TYPE_CHECKING:
    from unetr.infer.predict import Segmenter
    from unetr.prepare.datasets.cases import Inputs

Files = Mapping[str, Mapping[str, Path]]
"""Case id -> what is written for it -> where."""


class Ledger:
    """The records of all cases. path: of the report, None where none is written."""

    def __init__(self, path: Path | None, origin: Report, cases: Iterable[CaseRecord]) -> None:
        self.path = path
        self._origin = origin
        self._records = {record.id: record for record in cases}
        self._save()

    def __getitem__(self, case: str) -> CaseRecord:
        return self._records[case]

    def put(self, record: CaseRecord) -> None:
        """Notes a case's record in place of the one before. Raises MachineError where the report cannot be written."""
        self._records[record.id] = record
        self._save()

    def records(self) -> dict[str, CaseRecord]:
        """In the order of the ids."""
        return dict(sorted(self._records.items()))

    def _save(self) -> None:
        if self.path is not None:
            write_report(self.path, self._origin.model_copy(update={"cases": tuple(self.records().values())}))


def open_ledger(
    path: Path | None, segmenter: Segmenter, request: PredictRequest, inputs: Inputs, files: Files, observer: Observer
) -> Ledger:
    """Failed: the inputs' problems. Taken over: what an earlier run finished, unverified. Pending: the rest.

    Raises InputError, before anything is computed, where results of another model would be left among this run's.
    """
    cases = {case.id: CaseRecord(id=case.id) for case in inputs.cases}
    problems = [CaseRecord(id=name, state="failed", error=error) for name, error in inputs.problems.items()]
    if path is None:
        return Ledger(None, Report(unetr=__version__, models=(), settings={}, cases=()), [*cases.values(), *problems])
    models = tuple(digest_of(model) for model in segmenter.files)
    origin = Report(unetr=__version__, models=models, settings=request.settings(segmenter.asked), cases=())
    before = read_report(path)
    if before is not None and not before.same_origin(origin):
        _refuse_mixture(files, before)
        if request.resume:
            observer.on_note(f"{path} is of another model, settings or version: every case is computed again")
    elif before is not None and request.resume:
        cases |= {record.id: record for record in before.cases if record.id in cases and record.finished}
    return Ledger(path, origin, [*cases.values(), *problems])


def _refuse_mixture(files: Files, before: Report) -> None:
    """Raises InputError where results that `before` names, of another origin, would not be replaced by this run's."""
    mine = {path.name for of_case in files.values() for path in of_case.values()}
    folders = {path.parent for of_case in files.values() for path in of_case.values()}
    theirs = [output.file for record in before.cases if record.finished for output in record.outputs]
    left = [folder / name for name in theirs if name not in mine for folder in folders if (folder / name).exists()]
    if left:
        raise InputError(
            f"{left[0]}: is one of {len(left)} results of another model, settings or version, which this run would "
            "not replace; choose another folder, or remove them"
        )
