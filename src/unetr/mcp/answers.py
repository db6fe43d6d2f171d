"""What the tools answer: plain data, from which the protocol's schemas are made.

Answers hold what a person sees at the command line. Of DICOM headers, only what tells how a series lies and is read:
not what a series is called, which may be a patient's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.core.text.records import Record
from unetr.errors import InputError
from unetr.queue.tasks.words import Plain

if TYPE_CHECKING:
    from unetr.jobs.models.describe import ModelFacts
    from unetr.jobs.predict.report import CaseRecord


# Of no files: paths stay, as a person has named the folders.
_PLAIN = Plain(())


def undescribed_errors() -> AbstractContextManager[None]:
    """Errors from within do not tell what a series is called."""
    return _PLAIN.errors()


class ModelAnswer(Record):
    """A model that may be used. labels: name -> value in a label file. metrics: of its training's validation."""

    channels: Sequence[str]
    labels: Mapping[str, int]
    regions: Mapping[str, Sequence[int]]
    spacing_mm: Sequence[float]
    metrics: Mapping[str, float]
    licence: str
    sha256: str


class SeriesAnswer(Record):
    """A DICOM series. shape and spacing are missing where its slices form no regular grid."""

    uid: str
    modality: str
    slices: int
    shape: Sequence[int] | None
    spacing_mm: Sequence[float] | None
    remarks: Sequence[str]


class ScanAnswer(Record):
    """What is at a path. kind: "volume", "dicom" (see series) or "folder" (see scans and problems)."""

    kind: str
    channels: int | None = None
    shape: Sequence[int] | None = None
    spacing_mm: Sequence[float] | None = None
    orientation: str | None = None
    type: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    notes: Sequence[str] = ()
    label_names: Mapping[str, int] = {}
    series: Sequence[SeriesAnswer] = ()
    scans: Sequence[str] = ()
    problems: Sequence[str] = ()


class VerdictAnswer(Record):
    """Whether the scan looks like the training scans: "ok", "warned" or "unknown", with one sentence for each reason.

    unchanged: the result is byte for byte what was written.
    """

    state: str
    warnings: Sequence[str]
    notes: Sequence[str]
    confidence: Mapping[str, float | None]
    unchanged: bool


class VolumesAnswer(Record):
    """Millilitres of each label. source: "prediction", or "counted" in a file that was changed or made elsewhere."""

    volumes_ml: Mapping[str, float]
    source: str


class SegmentAnswer(Record):
    """A segmentation that has been written. confidence: mean probability, null for a label that does not occur."""

    result: str
    model: str
    volumes_ml: Mapping[str, float]
    verdict: VerdictAnswer


def model_answer(facts: ModelFacts) -> ModelAnswer:
    """Of the facts of a model file."""
    return ModelAnswer(
        channels=facts.channels,
        labels=facts.labels,
        regions=facts.regions,
        spacing_mm=facts.spacing_mm,
        metrics=facts.metrics,
        licence=facts.licence,
        sha256=facts.sha256,
    )


def scan_answer(path: Path) -> ScanAnswer:
    """Of what lies at a path. Raises InputError for what is no scan, DICOM, or folder of these."""
    from unetr.jobs.models.describe import DicomFacts, FolderFacts, ScanFacts, describe

    facts = describe(path)
    if isinstance(facts, DicomFacts):
        series = [
            SeriesAnswer(
                uid=each.uid,
                modality=each.modality,
                slices=each.slices,
                shape=each.shape,
                spacing_mm=each.spacing_mm,
                remarks=_PLAIN.texts(each.remarks),
            )
            for each in facts.series
        ]
        return ScanAnswer(kind="dicom", series=series)
    if isinstance(facts, FolderFacts):
        found = [str(first.relative_to(path)) for _, first in facts.scans]
        return ScanAnswer(kind="folder", scans=found, problems=_PLAIN.texts(list(facts.problems.values())))
    if not isinstance(facts, ScanFacts):
        raise InputError(f"{path}: is no scan; expected a scan, DICOM, or a folder of these")
    return ScanAnswer(
        kind="volume",
        channels=facts.channels,
        shape=facts.shape,
        spacing_mm=facts.spacing_mm,
        orientation=facts.orientation,
        type=facts.type,
        minimum=facts.minimum,
        maximum=facts.maximum,
        notes=_PLAIN.texts(facts.notes),
        label_names={name: value for value, name in facts.label_names.items()},
    )


def verdict_answer(record: CaseRecord, unchanged: bool) -> VerdictAnswer:
    """Of a finished case. unchanged: whether its result has the bytes that were written."""
    return VerdictAnswer(
        state=record.verdict or "unknown",
        warnings=_PLAIN.texts(record.warnings),
        notes=_PLAIN.texts(record.notes),
        confidence=record.confidence,
        unchanged=unchanged,
    )
