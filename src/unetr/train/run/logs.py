"""The logs of a run, CSV files that grow a row at a time: written, cut back after a kill, read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from unetr.core.files.atomic import machine_error, remove_leftovers, write_text
from unetr.core.machine.system import flush_to_disk
from unetr.core.text.untrusted import untrusted
from unetr.printable import csv_cell
from unetr.train.run.folder import CACHE, Run


def append_row(path: Path, row: dict[str, float | int]) -> None:
    """Adds a row to a CSV file; the first row writes the header. Numbers are written so that they read back exactly.

    Raises MachineError; what is written of the row then is dropped when the run is resumed.
    """
    try:
        # Without a buffer, which would be written once more when the file is closed after an error.
        with path.open("ab", buffering=0) as handle:
            names = [] if handle.tell() else [tuple(row)]
            text = _as_csv([*names, [repr(value) for value in row.values()]]).encode()
            while text:
                text = text[handle.write(text) :]
    except OSError as error:
        raise machine_error(path, error) from error


def go_back(run: Run, step: int) -> None:
    """Makes a run's folder that of a run that was left alone until `step`, after a kill: rows, temporary files."""
    cut_rows([run.log, run.timing, run.validation_log], step)
    remove_leftovers([run.folder, run.checkpoints, run.predictions, run.folder / CACHE])


def cut_rows(paths: Sequence[Path], step: int) -> None:
    """Drops the rows after `step` from CSV files, so that a resumed run logs each step once. Raises MachineError."""
    for path in paths:
        if not path.exists():
            continue
        # A letter that was cut in two is in the last line, which is dropped.
        text = path.read_bytes().decode("utf-8", "replace")
        rows = list(csv.reader(io.StringIO(text, newline="")))
        # A kill or a full disk may cut short the last line, and be it within its last number.
        whole = rows if text.endswith("\n") else rows[:-1]
        if not whole:
            path.unlink()
            continue
        kept = [row for row in whole[1:] if len(row) == len(whole[0]) and row[0].isdecimal() and int(row[0]) <= step]
        after = _as_csv([whole[0], *kept])
        if after != text:
            write_text(path, after, private=False)


def flush_rows(run: Run) -> None:
    """Makes the logs outlast a power cut, so that no checkpoint is ever ahead of them. Raises MachineError."""
    for path in (run.log, run.timing, run.validation_log):
        try:
            if path.exists():
                flush_to_disk(path)
        except OSError as error:
            raise machine_error(path, error) from error


def logged_seconds(run: Run, step: int) -> float:
    """What the steps up to `step` have taken, in all sittings of a run."""
    if not run.timing.exists():
        return 0.0
    with untrusted(run.timing, "a log of a run"), run.timing.open(encoding="utf-8", newline="") as handle:
        return sum(float(row["seconds"]) for row in csv.DictReader(handle) if int(row["step"]) <= step)


def logged_steps(path: Path) -> set[int]:
    """The steps that have a row in a log of a run, none where there is no such file."""
    if not path.exists():
        return set()
    with untrusted(path, "a log of a run"), path.open(encoding="utf-8", newline="") as handle:
        return {int(row["step"]) for row in csv.DictReader(handle)}


def _as_csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([csv_cell(cell) for cell in row] for row in rows)
    return text.getvalue()
