"""A run of `unetr predict` over its cases: what is read, computed, written, skipped and reported. Prints failures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.app.hints import with_hint
from unetr.app.predict_files import write_prediction
from unetr.app.predict_options import PredictOptions, naming
from unetr.app.printing import say, write_line
from unetr.app.progress import progress
from unetr.errors import InputError, MachineError, UnetrError

if TYPE_CHECKING:
    from unetr.infer.predict import Prediction, Prepared, Segmenter
    from unetr.infer.route import Budget
    from unetr.jobs.predict.pipeline import Outcome
    from unetr.jobs.predict.report import CaseRecord, FileDigest, Report
    from unetr.prepare.datasets.cases import Case, Inputs


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a run is made of.

    files: case id -> what -> where (see `output_files`). report_path: None for a single scan without report.
    continued: what the report there says is finished, and proves to be unchanged, is not computed again.
    announce: gets a line for people about what is going to be used, before it is.
    """

    segmenter: Segmenter
    models: tuple[Path, ...]
    inputs: Inputs
    files: Mapping[str, Mapping[str, Path]]
    options: PredictOptions
    report_path: Path | None = None
    continued: bool = False
    announce: Callable[[str], None] = write_line

    @property
    def outputs(self) -> list[Path]:
        """All files that the run may write."""
        files = [path for of_case in self.files.values() for path in of_case.values()]
        return files if self.report_path is None else [*files, self.report_path]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A scan that is ready to be segmented, and the digests of its files."""

    scan: Prepared
    inputs: tuple[FileDigest, ...]


@dataclass(frozen=True, slots=True)
class _Segmented:
    result: Prediction
    inputs: tuple[FileDigest, ...]


def claim_outputs(job: Job, scans: Path, tables: Sequence[Path], *, overwrite: bool) -> None:
    """Raises InputError where a file that is to be written is an input, written twice, or a person's own.

    scans: the path that was given. tables: files that are written beside the job's own.
    """
    from unetr.core.files.digest import file_sha256
    from unetr.core.files.outputs import claim
    from unetr.jobs.predict.report import read_report

    # Versions that kept no list of outputs named them in the report.
    before = None if job.report_path is None else read_report(job.report_path)
    known: dict[Path, list[str]] = {}
    if before is not None and job.report_path is not None and not _listed(job.report_path):
        known[job.report_path] = [file_sha256(job.report_path)]
        digests = {output.file: output.sha256 for record in before.cases for output in record.outputs}
        known |= {path: [digests[path.name]] for path in job.outputs if path.name in digests}
    inputs = {
        "a scan": [path for case in job.inputs.cases for path in case.images],
        "what is predicted": [scans, *(scans.iterdir() if scans.is_dir() else ())],
        "a model": [*job.models, *(model.with_suffix(".bin") for model in job.models)],
    }
    claim([*job.outputs, *tables], inputs, overwrite=overwrite, known=known)


def _listed(path: Path) -> bool:
    from unetr.core.files.outputs import read_list

    return path.name in read_list(path.parent)


def run_job(job: Job) -> dict[str, CaseRecord]:
    """Predicts every case that is not finished yet; returns case id -> record, in the order of the ids.

    A case that cannot be used is said and recorded, except a single one, whose InputError is raised. The report is
    written before the first case and after each. Raises InputError, before anything is computed, where results of
    another model would be left among this run's; MachineError when the machine refuses: what is finished stays.
    """
    from unetr.jobs.predict.pipeline import overlap

    announce = _announcer(job)
    report = _first_report(job)
    records = {record.id: record for record in report.cases}
    _save(job, report, records)
    for problem in job.inputs.problems.values():
        say(f"unetr: {problem}")
    with progress() as bar:
        task = bar.add_task("predicting", total=len(job.inputs.cases), note="")

        def compute(case: Case, loaded: _Loaded | CaseRecord) -> _Segmented | CaseRecord:
            bar.update(task, note=case.id)
            if not isinstance(loaded, _Loaded):
                return loaded
            with naming(case):
                budget = job.segmenter.budget(loaded.scan, job.options.wanted(), prefetch=len(job.inputs.cases) > 1)
            announce(budget, loaded.scan)
            try:
                return _Segmented(job.options.segment(case, loaded.scan, job.segmenter, budget.route), loaded.inputs)
            except MemoryError as error:
                if job.inputs.single:
                    raise
                # The other cases of a batch may fit.
                raise InputError(f"{case.images[0]}: cannot be segmented in the memory that is free") from error

        def finished(outcome: Outcome[Case, CaseRecord]) -> None:
            records[outcome.case.id] = _record(outcome)
            # An error of the machine ends the run and is the one to tell, even where the report cannot be written now.
            with suppress(MachineError) if isinstance(outcome.error, MachineError) else nullcontext():
                _save(job, report, records)
            if outcome.written is not None and outcome.written.state == "done":
                warned = outcome.written.verdict == "warned"
                for line in (*(outcome.written.warnings if warned else ()), *outcome.written.notes):
                    say(f"unetr: {outcome.case.id}: {line}")
            if isinstance(outcome.error, InputError):
                if job.inputs.single:
                    raise outcome.error
                say(f"unetr: {with_hint(outcome.error)}")
            bar.advance(task)

        overlap(
            job.inputs.cases,
            _reader(job, records),
            compute,
            lambda case, found: _write(job, case, found),
            finished,
            alone=lambda case: _read(job, records[case.id], case, None),
        )
    return dict(sorted(records.items()))


def _announcer(job: Job) -> Callable[[Budget, Prepared], None]:
    """Tells the estimated peak memory before the first scan, and again before one that needs much more."""
    from unetr.core.machine.memory import gigabytes

    told = 0

    def announce(budget: Budget, scan: Prepared) -> None:
        nonlocal told
        if budget.peak_bytes <= 1.1 * told:
            return
        parts = [f"estimated peak memory {gigabytes(budget.peak_bytes)}"]
        if len(budget.route.pieces) > 1:
            parts.append(f"scores in {len(budget.route.pieces)} pieces")
        parts.append(job.segmenter.choice)
        if not told and scan.verdict.state == "unknown":
            parts += scan.verdict.warnings
        job.announce("; ".join(part for part in parts if part))
        told = budget.peak_bytes

    return announce


def _first_report(job: Job) -> Report:
    """Failed: the inputs' problems. Taken over: what an earlier run finished, unverified. Pending: the rest."""
    from unetr import __version__
    from unetr.jobs.predict.report import CaseRecord, Report, digest_of, read_report

    problems = [CaseRecord(id=name, state="failed", error=error) for name, error in job.inputs.problems.items()]
    cases = {case.id: CaseRecord(id=case.id) for case in job.inputs.cases}
    if job.report_path is None:
        return Report(unetr=__version__, models=(), settings={}, cases=(*cases.values(), *problems))
    empty = Report(
        unetr=__version__,
        models=tuple(digest_of(model) for model in job.models),
        settings=job.options.settings(),
        cases=(),
    )
    before = read_report(job.report_path)
    if before is not None and not before.same_origin(empty):
        _refuse_mixture(job, before)
        if job.continued:
            say(f"{job.report_path} is of another model, settings or version: every case is computed again")
    elif before is not None and job.continued:
        cases |= {record.id: record for record in before.cases if record.id in cases and record.finished}
    return empty.model_copy(update={"cases": (*cases.values(), *problems)})


def _refuse_mixture(job: Job, before: Report) -> None:
    """Raises InputError where results that `before` names, of another origin, would not be replaced by this run's."""
    mine = {path.name for files in job.files.values() for path in files.values()}
    folders = {path.parent for files in job.files.values() for path in files.values()}
    theirs = [output.file for record in before.cases if record.finished for output in record.outputs]
    left = [folder / name for name in theirs if name not in mine for folder in folders if (folder / name).exists()]
    if left:
        raise InputError(
            f"{left[0]}: is one of {len(left)} results of another model, settings or version, which this run would "
            "not replace; choose another folder, or remove them"
        )


def _save(job: Job, report: Report, records: Mapping[str, CaseRecord]) -> None:
    from unetr.jobs.predict.report import write_report

    if job.report_path is not None:
        write_report(job.report_path, report.model_copy(update={"cases": tuple(v for _, v in sorted(records.items()))}))


def _reader(job: Job, records: Mapping[str, CaseRecord]) -> Callable[[Case], _Loaded | CaseRecord]:
    """Reads one case after the other; each may take what the budget of the one before it, which is segmented
    meanwhile, reckons with."""
    from unetr.infer.route import next_scan_bytes

    most: int | None = None

    def read(case: Case) -> _Loaded | CaseRecord:
        nonlocal most
        allowed, most = most, None
        found = _read(job, records[case.id], case, allowed)
        if isinstance(found, _Loaded) and job.options.memory_limit_bytes is not None:
            placement = found.scan.placement
            most = next_scan_bytes(placement.shape, placement.source_shape, job.segmenter.plan.in_channels)
        return found

    return read


def _read(job: Job, known: CaseRecord, case: Case, most_bytes: int | None) -> _Loaded | CaseRecord:
    """The scan, or the record of an earlier run that needs nothing more. Runs in a thread. Raises InputError.

    most_bytes: see `PredictOptions.prepare`.
    """
    from unetr.jobs.predict.report import digest_of, still_valid

    if job.report_path is None:
        return _Loaded(job.options.prepare(case, job.segmenter, most_bytes), ())
    stamps = [_stamp(path) for path in case.images]
    inputs = tuple(digest_of(path) for path in case.images)
    if still_valid(known, inputs, job.files[case.id]):
        return known.model_copy(update={"state": "skipped"})
    scan = job.options.prepare(case, job.segmenter, most_bytes)
    if stamps != [_stamp(path) for path in case.images]:
        raise InputError(f"{case.images[0]}: was changed while it was read; predict it again")
    return _Loaded(scan, inputs)


def _write(job: Job, case: Case, found: _Segmented | CaseRecord) -> CaseRecord:
    """Writes a case's files. Runs in a thread. Raises MachineError."""
    from unetr.jobs.predict.report import CaseRecord, digest_of

    if not isinstance(found, _Segmented):
        return found
    files = job.files[case.id]
    write_prediction(found.result, files, job.options, job.segmenter.plan.dataset)
    return CaseRecord(
        id=case.id,
        state="done",
        verdict=found.result.verdict.state,
        warnings=found.result.verdict.warnings,
        notes=found.result.verdict.notes,
        volumes_ml=found.result.volumes_ml,
        confidence={name: None if math.isnan(p) else p for name, p in found.result.confidence.items()},
        inputs=found.inputs,
        outputs=tuple(digest_of(path) for path in files.values()) if job.report_path is not None else (),
    )


def _record(outcome: Outcome[Case, CaseRecord]) -> CaseRecord:
    """What is reported of a case; a skipped one keeps the figures of the run that made it."""
    from unetr.jobs.predict.report import CaseRecord, CaseSeconds, peak_memory_mb

    if outcome.written is not None and outcome.written.state == "skipped":
        return outcome.written
    took = outcome.seconds
    figures = {
        "seconds": CaseSeconds(read=round(took.read, 4), compute=round(took.compute, 4), write=round(took.write, 4)),
        "peak_memory_mb": peak_memory_mb(),
    }
    if outcome.written is not None:
        return outcome.written.model_copy(update=figures)
    hint = outcome.error.hint if isinstance(outcome.error, UnetrError) else None
    record = CaseRecord(id=outcome.case.id, state="failed", error=str(outcome.error), hint=hint)
    return record.model_copy(update=figures)


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written to, or a folder's files come and go; None where there is nothing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
