"""The three stages of a case: read, compute and write, and what is noted at its end."""

from __future__ import annotations

import math
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.core.machine.memory import gigabytes
from unetr.core.observer import stop_if_asked
from unetr.errors import InputError, MachineError
from unetr.infer.route import ChosenRoute, next_scan_bytes
from unetr.jobs.predict.ledger import Files, Ledger
from unetr.jobs.predict.observer import PredictObserver
from unetr.jobs.predict.outputs import write_prediction
from unetr.jobs.predict.report import CaseRecord, CaseSeconds, FileDigest, digest_of, peak_memory_mb, still_valid
from unetr.jobs.predict.request import PredictRequest

if TYPE_CHECKING:
    from unetr.infer.predict import Prediction, Prepared, Segmenter
    from unetr.jobs.predict.pipeline import Outcome
    from unetr.prepare.datasets.cases import Case

# What `on_stage` is told of; its parts are the cases.
STAGE = "predicting"
# A scan that needs so much more than what was told before is told again.
_MUCH_MORE = 1.1


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scan that is ready to be segmented, and the digests of its files."""

    scan: Prepared
    inputs: tuple[FileDigest, ...]


@dataclass(frozen=True, slots=True)
class Segmented:
    """A prediction, and the digests of the files that it was made from."""

    result: Prediction
    inputs: tuple[FileDigest, ...]


class Stages:
    """What `pipeline` runs for each case. Read and write run in threads of their own, all else in the job's.

    A CaseRecord in place of a scan or a result is that of an earlier run, which needs nothing more.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        request: PredictRequest,
        files: Files,
        ledger: Ledger,
        observer: PredictObserver,
        *,
        single: bool,
    ) -> None:
        self._segmenter = segmenter
        self._request = request
        self._files = files
        self._ledger = ledger
        self._observer = observer
        self._single = single
        self._ended = 0
        self._told_bytes = 0
        self._most_bytes: int | None = None

    def read(self, case: Case) -> Loaded | CaseRecord:
        """Reads one case after the other. Each may take what the route of the one before it, which is segmented
        meanwhile, reckons with. Raises InputError."""
        allowed, self._most_bytes = self._most_bytes, None
        found = self._read(case, allowed)
        if isinstance(found, Loaded) and self._request.memory_limit_bytes is not None:
            placement, channels = found.scan.placement, self._segmenter.plan.in_channels
            self._most_bytes = next_scan_bytes(placement.shape, placement.source_shape, channels)
        return found

    def read_alone(self, case: Case) -> Loaded | CaseRecord:
        """Reads a case while no other is segmented. Raises InputError."""
        return self._read(case, None)

    def compute(self, case: Case, found: Loaded | CaseRecord) -> Segmented | CaseRecord:
        """Raises InputError for a scan that cannot be segmented, StoppedError where the observer asks to stop."""
        stop_if_asked(self._observer, f"predicting, {self._ended} of {len(self._files)} scans are finished")
        self._observer.on_case_started(case.id)
        if not isinstance(found, Loaded):
            return found
        chosen = self._segmenter.route(found.scan, self._request, prefetch=len(self._files) > 1)
        self._tell_estimate(chosen, found.scan)
        try:
            result = self._segmenter.segment(found.scan, self._request, chosen.route, self._observer)
        except MemoryError as error:
            if self._single:
                raise
            # The other cases of a batch may fit.
            raise InputError(f"{case.images[0]}: cannot be segmented in the memory that is free") from error
        return Segmented(result, found.inputs)

    def write(self, case: Case, found: Segmented | CaseRecord) -> CaseRecord:
        """Writes a case's files; returns its record. Raises MachineError."""
        if not isinstance(found, Segmented):
            return found
        files, verdict = self._files[case.id], found.result.verdict
        write_prediction(found.result, files, self._request.format)
        return CaseRecord(
            id=case.id,
            state="done",
            verdict=verdict.state,
            warnings=verdict.warnings,
            notes=verdict.notes,
            volumes_ml=found.result.volumes_ml,
            confidence={name: None if math.isnan(p) else p for name, p in found.result.confidence.items()},
            inputs=found.inputs,
            outputs=() if self._ledger.path is None else tuple(digest_of(path) for path in files.values()),
        )

    def finish(self, outcome: Outcome[Case, CaseRecord]) -> None:
        """Notes and tells how a case ended. Raises the InputError of a single scan."""
        record = _record_of(outcome)
        # An error of the machine ends the run and is the one to tell, even where the report cannot be written now.
        with suppress(MachineError) if isinstance(outcome.error, MachineError) else nullcontext():
            self._ledger.put(record)
        if isinstance(outcome.error, InputError):
            if self._single:
                raise outcome.error
            self._observer.on_case_failed(record)
        elif outcome.error is None:
            self._observer.on_case_done(record)
        self._ended += 1
        self._observer.on_stage(STAGE, self._ended, len(self._files))

    def _read(self, case: Case, most_bytes: int | None) -> Loaded | CaseRecord:
        if self._ledger.path is None:
            return Loaded(self._segmenter.prepare(case.images, self._request, most_bytes), ())
        stamps = [_stamp(path) for path in case.images]
        inputs = tuple(digest_of(path) for path in case.images)
        known = self._ledger[case.id]
        if still_valid(known, inputs, self._files[case.id]):
            return known.model_copy(update={"state": "skipped"})
        scan = self._segmenter.prepare(case.images, self._request, most_bytes)
        if stamps != [_stamp(path) for path in case.images]:
            raise InputError(f"{case.images[0]}: was changed while it was read; predict it again")
        return Loaded(scan, inputs)

    def _tell_estimate(self, chosen: ChosenRoute, scan: Prepared) -> None:
        """The estimated peak memory before the first scan, and again before one that needs much more."""
        if chosen.peak_bytes <= _MUCH_MORE * self._told_bytes:
            return
        again = "of a larger scan " if self._told_bytes else ""
        parts = [f"estimated peak memory {again}{gigabytes(chosen.peak_bytes)}"]
        if len(chosen.route.pieces) > 1:
            parts.append(f"scores in {len(chosen.route.pieces)} pieces")
        if not self._told_bytes:
            parts.append(self._segmenter.choice)
        if not self._told_bytes and scan.verdict.state == "unknown":
            parts += scan.verdict.warnings
        self._observer.on_estimate("; ".join(part for part in parts if part))
        self._told_bytes = chosen.peak_bytes


def _record_of(outcome: Outcome[Case, CaseRecord]) -> CaseRecord:
    """What is reported of a case; a skipped one keeps the figures of the run that made it."""
    if outcome.written is not None and outcome.written.state == "skipped":
        return outcome.written
    hint = None if outcome.error is None else outcome.error.hint
    record = outcome.written or CaseRecord(id=outcome.case.id, state="failed", error=str(outcome.error), hint=hint)
    took = outcome.seconds
    seconds = CaseSeconds(read=round(took.read, 4), compute=round(took.compute, 4), write=round(took.write, 4))
    return record.model_copy(update={"seconds": seconds, "peak_memory_mb": peak_memory_mb()})


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written to, or a folder's files come and go; None where there is nothing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
