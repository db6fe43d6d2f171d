"""The report of a folder of predictions: what came of every case, from which bytes, by which model and settings.

Knows files and digests, no scans and no networks. `unetr predict --continue` believes this file, and only as far as
the digests of the files that it names still agree.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from unetr.core.files.atomic import write_text
from unetr.core.files.digest import file_sha256, size_and_sha256
from unetr.core.machine.memory import peak_bytes
from unetr.core.text.reading import parse_json, read_text
from unetr.core.text.records import Record
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError
from unetr.printable import csv_cell, printable_json

REPORT_NAME = "report.json"

State = Literal["done", "failed", "skipped", "pending"]
Setting = bool | int | float | str | list[str] | None


def printable(text: object) -> object:
    """A path in an error may be no Unicode, which no JSON can hold: its strange bytes spelled out."""
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(printable)]


class FileDigest(Record):
    """A file, or a folder of files taken together, by name, bytes and SHA-256 (see `digest_of`)."""

    file: Text
    bytes: int
    sha256: str


class CaseSeconds(Record):
    """Wall time of each stage; those of neighbouring cases overlap."""

    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0


class CaseRecord(Record):
    """What came of a case.

    state: done, in this run; skipped, done in an earlier one and found unchanged; failed, `error` says why; pending.
    verdict: how the scan compares with the training scans, and warnings that say why; notes: what else there is to know
    of how it was read. confidence: mean probability of
    the voxels of each class or region, null for one that does not occur. peak_memory_mb: the most memory that the
    process had held when the case was finished. outputs: in the report's folder unless a single scan was written
    elsewhere.
    """

    id: Text
    state: State = "pending"
    error: Text | None = None
    hint: Text | None = None
    verdict: Literal["ok", "warned", "unknown"] | None = None
    warnings: tuple[Text, ...] = ()
    notes: tuple[Text, ...] = ()
    seconds: CaseSeconds = CaseSeconds()
    peak_memory_mb: float | None = None
    volumes_ml: dict[str, float] = Field(default_factory=dict)
    confidence: dict[str, float | None] = Field(default_factory=dict)
    inputs: tuple[FileDigest, ...] = ()
    outputs: tuple[FileDigest, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether its outputs were written, in this run or an earlier one."""
        return self.state in ("done", "skipped")


class Report(Record):
    """Everything a continued run needs to know. settings: the options that change the result. unetr: the version."""

    format: Literal["unetr-prediction-report"] = "unetr-prediction-report"
    format_version: Literal[1] = 1
    unetr: str
    models: tuple[FileDigest, ...]
    settings: dict[str, Setting]
    cases: tuple[CaseRecord, ...]

    def same_origin(self, other: Report) -> bool:
        """Whether the results of both come from the same program version, models and settings."""
        mine, theirs = ([model.sha256 for model in report.models] for report in (self, other))
        return mine == theirs and (self.unetr, self.settings) == (other.unetr, other.settings)


def write_report(path: Path, report: Report) -> None:
    """Writes atomically, as JSON, with a count of each state first. Raises MachineError."""
    states = [case.state for case in report.cases]
    counts = json.dumps({state: states.count(state) for state in ("done", "skipped", "failed", "pending")})
    # By pydantic: ten times as fast as the json module, which counts when it is done after each of many small scans.
    rest = report.model_dump_json(indent=1).removeprefix("{")
    write_text(path, printable_json(f'{{\n "counts": {counts},{rest}\n'))


@reads_untrusted("a report of unetr predict")
def read_report(path: Path) -> Report | None:
    """The report at `path`, None where there is no file. Raises InputError for a file that is something else."""
    if not path.exists():
        return None
    text = read_text(path, "a report of unetr predict")
    try:
        data = parse_json(text, str(path))
        if isinstance(data, dict):
            data.pop("counts", None)
        return Report.model_validate(data)
    except (ValidationError, InputError):
        raise InputError(
            f"{path}: is not a report of unetr predict, or of another version; move it away or choose another output"
        ) from None


def write_table(path: Path, records: Mapping[str, CaseRecord]) -> None:
    """Writes the volume and confidence of each case and label as CSV, atomically. Raises MachineError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "label", "volume_ml", "confidence"])
    for case, record in records.items():
        for name, value in record.volumes_ml.items():
            sure = record.confidence.get(name)
            writer.writerow([csv_cell(case), csv_cell(name), f"{value:.6g}", "" if sure is None else f"{sure:.4f}"])
    write_text(path, text.getvalue())


def digest_of(path: Path) -> FileDigest:
    """Name, size and SHA-256 of a file, or of a folder's files together. Raises InputError for what cannot be read."""
    size, sha256 = size_and_sha256(path)
    return FileDigest(file=path.resolve().name if path.is_dir() else path.name, bytes=size, sha256=sha256)


def still_valid(record: CaseRecord, inputs: tuple[FileDigest, ...], outputs: Mapping[str, Path]) -> bool:
    """Whether a case need not be computed again: finished, from these very inputs, and every output is unchanged.

    outputs: what -> the file that is wanted now. Output files are read to their end.
    """
    if not record.finished or record.inputs != inputs:
        return False
    written = {digest.file: digest for digest in record.outputs}
    for path in outputs.values():
        known = written.get(str(printable(path.name)))
        if (
            known is None
            or not path.is_file()
            or path.stat().st_size != known.bytes
            or file_sha256(path) != known.sha256
        ):
            return False
    return True


def peak_memory_mb() -> float:
    """The most memory that this process has held so far, in MB (1e6 bytes)."""
    return round(peak_bytes() / 1e6, 1)
