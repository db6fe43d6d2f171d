"""What a prediction of a file or a folder is asked for, and what comes of it. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from unetr.infer.options import EngineOptions, PredictKeywords, PredictOptions

if TYPE_CHECKING:
    from unetr.jobs.predict.report import CaseRecord, Setting


class WriteKeywords(TypedDict, total=False):
    """The options of `PredictRequest` that say what is written, for calls by keyword."""

    format: str
    preview: bool
    stats: Path | None
    report: Path | None
    resume: bool
    overwrite: bool


class RequestKeywords(PredictKeywords, WriteKeywords, total=False):
    """All options of `PredictRequest` but `scans` and `out`, for calls by keyword."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest(PredictOptions):
    """The options of `PredictOptions`, what is predicted and what is written where.

    scans: a scan, a zip or folder of DICOM, a folder of any of these, or a CSV of paths. out: the label file, or a
    folder. format: "nifti" (or each scan's own format), "dicom-seg" or "rtstruct". preview: also write an overlay
    picture. stats: a CSV file for the volumes and confidence of each case. report: where the report goes, in place of
    OUT/report.json; None writes none for a single scan. resume: skip what the report proves to be finished and
    unchanged. overwrite: replace files that unetr did not write, or that were edited since.
    """

    scans: Path
    out: Path
    format: str = "nifti"
    preview: bool = False
    stats: Path | None = None
    report: Path | None = None
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        from unetr.io.results import known_result_format

        known_result_format(self.format)
        for name in ("scans", "out", "stats", "report"):
            given = getattr(self, name)
            object.__setattr__(self, name, None if given is None else Path(given))

    def settings(self, engine: EngineOptions) -> dict[str, Setting]:
        """The options that change the numbers in a result: a result made with others is not taken over."""
        return {
            "engine": engine.engine,
            "device": engine.device,
            "precision": engine.precision,
            "tta": self.tta,
            "assume_affine": self.assume_affine,
            "accept_shear": self.accept_shear,
            "transform": self.transform or "",
            "series": list(self.series),
        }


@dataclass(frozen=True, slots=True)
class PredictOutcome:
    """What came of all cases.

    records: case id -> record, in the order of the ids. files: case id -> what ("label", "preview", "probabilities",
    "uncertainty") -> where it is or would be. report: its file, where there is one.
    """

    records: Mapping[str, CaseRecord]
    files: Mapping[str, Mapping[str, Path]]
    report: Path | None = None

    @property
    def finished(self) -> dict[str, CaseRecord]:
        """The cases whose results are there, from this run or an earlier one."""
        return {name: record for name, record in self.records.items() if record.finished}

    @property
    def failed(self) -> dict[str, str]:
        """Case id -> why it could not be predicted."""
        return {name: record.error or "" for name, record in self.records.items() if record.state == "failed"}
