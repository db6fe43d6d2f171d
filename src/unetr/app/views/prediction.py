"""What a person sees of a prediction: a bar for the cases, one for the windows of a scan, notes, failures, results."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from unetr.app.hints import hinted
from unetr.app.printing import print_json, print_table, say, write_line
from unetr.app.views.progress import progress
from unetr.core.text.numbers import counted
from unetr.jobs.predict.observer import PredictObserver

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from unetr.jobs.predict.report import CaseRecord
    from unetr.jobs.predict.request import PredictOutcome


class PredictionView(PredictObserver):
    """Shows a prediction in the terminal while it is entered. as_json: results and estimates as one document."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._estimates: list[str] = []
        self._shown = ExitStack()
        self._bar: Progress | None = None
        self._cases: TaskID | None = None
        self._windows: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._shown.close()

    def on_note(self, text: str) -> None:
        """On standard error."""
        say(text)

    def on_estimate(self, text: str) -> None:
        """On standard output, or among the results in JSON."""
        if self._as_json:
            self._estimates.append(text)
        else:
            write_line(text)

    def on_stage(self, name: str, done: int, of: int | None) -> None:
        """A bar of its own for a number of cases; the windows of a single one need none beside theirs."""
        if self._bar is None:
            self._bar = self._shown.enter_context(progress())
            if of != 1:
                self._cases = self._bar.add_task(name, total=of, note="")
        elif self._cases is not None:
            self._bar.update(self._cases, completed=done)

    def on_case_started(self, case: str) -> None:
        """The case's name goes beside the bar."""
        if self._bar is not None and self._cases is not None:
            self._bar.update(self._cases, note=case)

    def on_windows(self, done: int, of: int) -> None:
        """A bar that starts anew with each scan."""
        if self._bar is None:
            return
        if self._windows is None:
            self._windows = self._bar.add_task("windows", total=of, note="")
        elif done == 0:
            self._bar.reset(self._windows, total=of)
        else:
            self._bar.update(self._windows, completed=done)

    def on_case_done(self, record: CaseRecord) -> None:
        """What was found of a scan that was segmented now."""
        if record.state == "done":
            warnings = record.warnings if record.verdict == "warned" else ()
            for line in (*warnings, *record.notes):
                say(f"unetr: {record.id}: {line}")

    def on_case_failed(self, record: CaseRecord) -> None:
        """The error, which names the file."""
        say(f"unetr: {hinted(record.error or '', record.hint)}")

    def on_finished(self, outcome: PredictOutcome) -> None:
        """The volumes in a table, or everything in JSON."""
        self._shown.close()
        if self._as_json:
            print_json(_as_data(outcome, self._estimates))
        elif outcome.finished:
            finished = outcome.finished
            names = list(next(iter(finished.values())).volumes_ml)
            rows = [(case, *(f"{record.volumes_ml[name]:.3f}" for name in names)) for case, record in finished.items()]
            print_table("volumes in ml", ("case", *names), rows)
            say(_where(outcome))


def _where(outcome: PredictOutcome) -> str:
    """What was written, and where; what was there before; the report."""
    files = [outcome.files[name]["label"] for name, record in outcome.finished.items() if record.state == "done"]
    there = len(outcome.finished) - len(files)
    parts = [f"wrote {files[0]}"] if len(files) == 1 else []
    parts += [f"wrote {counted(len(files), 'label file')} to {files[0].parent}"] if len(files) > 1 else []
    parts += [f"{counted(there, 'case')} finished before"] if there else []
    parts += [f"report: {outcome.report}"] if outcome.report is not None else []
    return "; ".join(parts)


def _as_data(outcome: PredictOutcome, estimates: list[str]) -> dict[str, object]:
    finished = outcome.finished
    return {
        "notes": estimates,
        "volumes_ml": {name: record.volumes_ml for name, record in finished.items()},
        "confidence": {name: record.confidence for name, record in finished.items()},
        "verdicts": {name: record.verdict for name, record in finished.items()},
        "warnings": {name: [*record.warnings, *record.notes] for name, record in finished.items()},
        "files": {name: str(outcome.files[name]["label"]) for name in finished},
        "skipped": [name for name, record in finished.items() if record.state == "skipped"],
        "failed": outcome.failed,
        "report": None if outcome.report is None else str(outcome.report),
    }
