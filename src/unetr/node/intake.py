"""From series that are quiet to jobs: which rule takes them, whether they are whole, what becomes of late slices.

A series with a gap, or with fewer images than it says that there are, waits for more and in the end has failed; it
never becomes a job. A slice that comes after jobs were made makes others, of all slices; those before are cancelled
where they have not ended, and the new one's origin says which ones it supersedes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from unetr.core.files.digest import file_sha256
from unetr.errors import InputError, MachineError
from unetr.io.dicom.series.head import read_head, read_traits
from unetr.node.delivery.destination import wanted
from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.table import SeriesRow, SeriesState
from unetr.node.rules import Rule, Size, mismatch
from unetr.node.settings import Ready
from unetr.queue.files.scans import Received
from unetr.queue.record import JobRecord, ScanRecord, Settings
from unetr.queue.store import QueueFullError

_PAUSE_S = 5.0
_DOOR = "node"


class Jobs(Protocol):
    """What of a queue's service is needed."""

    def new_incoming(self) -> Path:
        """A fresh folder to put files in."""

    def keep_scan(self, files: Sequence[Received]) -> ScanRecord:
        """The scan of these files, which it moves away."""

    def describe(self, scan_id: str, timeout_s: float = ...) -> Mapping[str, Any]:
        """The scan's facts, read by another process."""

    def submit(
        self, scan_id: str, model: str, settings: Settings = ..., origin: Mapping[str, Any] | None = None
    ) -> JobRecord:
        """The job that does what is asked for."""

    def cancel(self, job_id: str, actor: str = ...) -> JobRecord:
        """Ends a job that has not ended. actor: who asks."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of a series when it had so many files."""

    files: tuple[Path, ...]
    traits: Mapping[str, str]
    scan: str
    size: Size


class _IncompleteError(InputError):
    """More may come, and then it may be read."""


class Intake:
    """Makes jobs of the series in `arrivals`. `step` is for one thread.

    note: hears a line about each decision, without what could name somebody. counts: decisions, by state.
    """

    def __init__(
        self, rules: Sequence[Rule], ready: Ready, arrivals: Arrivals, jobs: Jobs, note: Callable[[str], None]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._rules, self._ready, self._arrivals, self._jobs, self._note = rules, ready, arrivals, jobs, note
        self._known: dict[str, _Known] = {}
        self._not_before: dict[str, float] = {}
        self._accepted: set[str] = set()  # with the slices that they have, as they waited for as long as they may

    def step(self) -> bool:
        """Decides what can be decided now; whether there was anything."""
        busy = False
        for row in self._arrivals.quiet(self._ready.quiet_s, self._ready.cut_off_s):
            if time.monotonic() >= self._not_before.get(row.series, 0.0):
                busy = True
                self._take(row)
        for row in self._arrivals.rows(SeriesState.WAITING, SeriesState.HELD):
            self._give_up(row)
        return busy

    def _take(self, row: SeriesRow) -> None:
        files = tuple(self._arrivals.files(row.series))
        try:
            self._sort(row, files)
        except (QueueFullError, MachineError):  # nothing is wrong with the series: it is tried again
            self._not_before[row.series] = time.monotonic() + _PAUSE_S
            self.counts["later"] += 1
        except _IncompleteError as error:
            ended = row.series in self._accepted
            self._decide(row, len(files), SeriesState.FAILED if ended else SeriesState.WAITING, str(error))
        except InputError as error:
            self._decide(row, len(files), SeriesState.FAILED, str(error))

    def _sort(self, row: SeriesRow, files: tuple[Path, ...]) -> None:
        """Raises QueueFullError and MachineError for later, _IncompleteError, and InputError for what is of no use."""
        traits = read_traits(files[0])
        possible = [rule for rule in self._rules if _possible(rule, traits)]
        if not possible:
            self._decide(row, len(files), SeriesState.UNMATCHED)
            return
        if self._arrivals.is_cut_off(row.series) and row.series not in self._accepted:
            raise _IncompleteError("who sent it was cut off, or something of it was refused, and it did not come back")
        known = self._read(row.series, files, traits)
        jobs: dict[str, str] = {}
        before, held = set(row.jobs.values()), False  # all of these were made of fewer slices
        for rule in possible:
            if rule.when is not None and mismatch(rule.when, known.traits, known.size) is None:
                jobs[rule.name] = self._submit(rule, known.scan, rule.settings(), row.source, before)
            elif _channels_of(rule, known):
                held = True
            else:
                continue
            if not rule.go_on:
                break
        state = SeriesState.HELD if held else SeriesState.SUBMITTED if jobs else SeriesState.UNMATCHED
        self._decide(row, len(files), state, jobs=jobs)
        if held:
            self._join(row.study)

    def _read(self, series: str, files: tuple[Path, ...], traits: Mapping[str, str] | None = None) -> _Known:
        """Keeps the files as a scan and has it described. Raises _IncompleteError where that finds anything wrong."""
        known = self._known.get(series)
        if known is None or known.files != files:
            scan, facts = self._kept(files)
            if facts.get("missing") and series not in self._accepted:
                raise _IncompleteError("; ".join(facts["missing"]))
            size = Size(int(facts["shape"][2]), tuple(facts["spacing_mm"]))
            known = self._known[series] = _Known(files, traits or read_traits(files[0]), scan, size)
        return known

    def _kept(self, files: Sequence[Path]) -> tuple[str, Mapping[str, Any]]:
        """The id and the facts of the scan of these files, which stay where they are."""
        folder = self._jobs.new_incoming()
        try:
            scan = self._jobs.keep_scan([_linked(file, folder / f"{at:06}.dcm") for at, file in enumerate(files)])
        except OSError as error:
            raise MachineError(f"the scan: cannot be kept: {error.strerror or error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            facts = self._jobs.describe(scan.id)
        except InputError as error:
            raise _IncompleteError(str(error)) from error
        return scan.id, facts

    def _join(self, study: str) -> None:
        """Submits each rule with channels for which this study has them all."""
        rows = [one for one in self._arrivals.rows(SeriesState.HELD, SeriesState.SUBMITTED) if one.study == study]
        known: dict[str, _Known] = {}
        for row in rows:
            with suppress(_IncompleteError):  # one that was taken for all its doubts says nothing against the others
                known[row.series] = self._read(row.series, tuple(self._arrivals.files(row.series)))
        for rule in self._rules:
            found = _by_channel(rule, known)
            double = [name for name, series in found.items() if len(series) > 1]
            if double:
                self._refuse_double([row for row in rows if row.series in found[double[0]]], rule, double[0])
            elif (
                found
                and all(found.values())
                and len({one for series in found.values() for one in series}) == len(found)
            ):
                chosen = [next(row for row in rows if row.series == series[0]) for series in found.values()]
                self._submit_joined(rule, chosen, [known[row.series] for row in chosen])

    def _submit_joined(self, rule: Rule, rows: Sequence[SeriesRow], known: Sequence[_Known]) -> None:
        scan, _ = self._kept([file for one in known for file in one.files])
        uids = [read_head(one.files[0]).series for one in known]
        # Jobs of other rules on the same series stand for themselves.
        before = {row.jobs[rule.name] for row in rows if rule.name in row.jobs}
        job = self._submit(rule, scan, rule.settings(uids), rows[0].source, before)
        for row, one in zip(rows, known, strict=True):
            self._decide(row, len(one.files), SeriesState.SUBMITTED, jobs={**row.jobs, rule.name: job})

    def _refuse_double(self, rows: Sequence[SeriesRow], rule: Rule, channel: str) -> None:
        said = f"{len(rows)} series of the study meet channel {channel} of rule {rule.name}; expected one"
        for row in rows:
            if row.state is SeriesState.HELD:
                self._decide(row, row.files, SeriesState.FAILED, said)

    def _submit(self, rule: Rule, scan: str, settings: Settings, source: str, before: Set[str]) -> str:
        """The job's id. before: jobs of fewer slices, which are cancelled unless they have ended."""
        origin = {
            "actor": _DOOR,
            "source": source,
            "rule": rule.name,
            **wanted(dict.fromkeys(rule.destinations, rule.forms)),
        }
        job = self._jobs.submit(scan, rule.model, settings, origin | {"supersedes": sorted(before)})
        for other in before - {job.id}:
            with suppress(InputError):
                self._jobs.cancel(other, _DOOR)
        return job.id

    def _decide(
        self,
        row: SeriesRow,
        files: int,
        state: SeriesState,
        said: str | None = None,
        jobs: Mapping[str, str] | None = None,
    ) -> None:
        self._arrivals.decide(row.series, files, state, said, jobs)
        self.counts[state] += 1
        if state is not SeriesState.HELD:
            self._known.pop(row.series, None)
        if state is not SeriesState.WAITING:
            self._accepted.discard(row.series)
        told = f": {said}" if said else f": {', '.join(job[:8] for job in jobs.values())}" if jobs else ""
        self._note(f"series {row.series[:8]}, {files} files, {state}{told}")

    def _give_up(self, row: SeriesRow) -> None:
        """Ends the waiting of a series that has waited for as long as it may."""
        longest, what = self._ready.wait_s, row.said or "it is not complete"
        if row.state is SeriesState.HELD:
            longest = max((rule.wait_s for rule in self._rules if rule.channels), default=0.0)
            what = "the other channels of its rule have not come"
        if time.time() - row.last_s < longest:
            return
        if row.state is SeriesState.WAITING and self._ready.then == "predict":
            self._accepted.add(row.series)
            self._take(row)
        else:
            self._decide(row, row.files, SeriesState.FAILED, f"waited {longest:g} s for more: {what}")


def _possible(rule: Rule, traits: Mapping[str, str]) -> bool:
    """Whether the rule may take a series with these headers, whatever its size."""
    wanted_ones = [rule.when] if rule.when is not None else [channel.when for channel in rule.channels]
    return any(mismatch(when, traits) is None for when in wanted_ones)


def _channels_of(rule: Rule, known: _Known) -> list[str]:
    return [channel.name for channel in rule.channels if mismatch(channel.when, known.traits, known.size) is None]


def _by_channel(rule: Rule, known: Mapping[str, _Known]) -> dict[str, list[str]]:
    """Of each of the rule's channels: the series that meet it."""
    met = {series: _channels_of(rule, one) for series, one in known.items()}
    return {channel.name: [series for series in met if channel.name in met[series]] for channel in rule.channels}


def _linked(file: Path, at: Path) -> Received:
    """The file under another name, without a copy where the file system can."""
    try:
        os.link(file, at)
    except OSError:
        shutil.copyfile(file, at)
    return Received(at, file_sha256(at), at.stat().st_size)
