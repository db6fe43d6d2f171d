"""A scan and a job as the queue keeps them. Plain data: nothing in it names a patient, and no file is named by others.

A job goes received -> ready -> running -> written -> delivered, or ends as failed or cancelled. `received`: the scan's
files are safe on disk. `ready`: they can be read, and the job waits. `running`: an engine has it, for as long as its
lease. `written`: the result's files are on disk with their digests, and never change again. `delivered`: whoever it was
made for has it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from unetr.core.version import __version__

# Of a SHA-256 as hexadecimal: enough that no two are the same.
_ID_LENGTH = 32


class JobState(StrEnum):
    """Where a job stands."""

    RECEIVED = "received"
    READY = "ready"
    RUNNING = "running"
    WRITTEN = "written"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


WAITING = (JobState.RECEIVED, JobState.READY)
FINISHED = (JobState.WRITTEN, JobState.DELIVERED)
ENDED = (*FINISHED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What of a prediction may be chosen for one job; see `unetr.infer.options.PredictOptions`.

    series: SeriesInstanceUIDs, one for each channel, where the scan has several. forms: keys of
    `unetr.queue.tasks.dicom_forms.DICOM_FORMS` that are written beside the NIfTI, before the job counts as written.
    """

    tta: bool = False
    uncertainty: bool = False
    strict: bool = False
    assume_affine: bool = False
    series: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What is asked for. Two that are equal have one key, and are one job.

    scan: the id of a ScanRecord. model: the name by which it is offered. model_sha256: of its file, or of the digests
    of an ensemble's files.
    """

    scan: str
    model: str
    model_sha256: str
    settings: Settings = Settings()
    version: str = __version__

    @property
    def key(self) -> str:
        """SHA-256 of all of it but the model's name, which is not what it has learned."""
        told = {
            "scan": self.scan,
            "model": self.model_sha256,
            "settings": {name: getattr(self.settings, name) for name in sorted(Settings.__slots__)},
            "version": self.version,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def id(self) -> str:
        """The key's first half, which names the job in addresses and its folder."""
        return self.key[:_ID_LENGTH]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """A file of a result. form: "labels", "stats", "preview", "uncertainty", or a key of DICOM_FORMS. name: in the
    job's folder."""

    form: str
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed, or waits for longer, for people: an UnetrError's kind, message and hint. Files are named as the
    queue names them."""

    kind: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job. created_s and updated_s: seconds since 1970. attempts: how often an engine has taken it.

    error: of one that failed, and of one that waits until the disk has room.
    cancelling: somebody asked to stop it while it runs. results: of a written job. summary: its volumes in ml,
    confidence and verdict, as `stats.json` has them. origin: what a door notes about where it came from and where the
    result goes, such as the rule of a DICOM node; never a name of a patient.
    """

    id: str
    spec: JobSpec
    state: JobState
    created_s: float
    updated_s: float
    attempts: int = 0
    cancelling: bool = False
    results: tuple[ResultFile, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    error: JobError | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """A change of state. number: grows over all jobs, so that a listener can go on where it stopped."""

    number: int
    job: str
    state: JobState
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRecord:
    """A scan whose files lie in the queue's folder. id: from the digests of its files. files: their names there.

    facts: what reading it told (`describe` task): shape, spacing, modality, series; empty until then.
    """

    id: str
    files: tuple[str, ...]
    bytes: int
    created_s: float
    facts: Mapping[str, Any] = field(default_factory=dict)


def scan_id(sha256s: Sequence[str], *, ordered: bool) -> str:
    """The id of a scan whose files have these digests.

    ordered: the files are channels of one scan, so their order counts; slices of DICOM come in any order.
    """
    told = json.dumps([ordered, list(sha256s) if ordered else sorted(sha256s)])
    return hashlib.sha256(told.encode()).hexdigest()[:_ID_LENGTH]
