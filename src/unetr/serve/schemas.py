"""Requests and answers of the API: what `/openapi.json` says of them. A key that is not known is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from unetr.queue.record import JobRecord, JobState, ScanRecord, Settings
from unetr.queue.service import OfferedModel, Progress

Form = Literal["labels", "stats", "preview", "uncertainty", "dicom-seg", "rtstruct"]
CorrectionForm = Literal["labels", "dicom-seg", "rtstruct"]
Id = r"^[0-9a-f]{32}$"
_ID_EXAMPLE = "3f0c5a1be2d94c7a8b6e10f2d5c4a9b7"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ErrorTold(_Strict):
    """What went wrong, for people."""

    kind: str = Field(description="What sort of error, such as InputError or QueueFullError.")
    message: str = Field(description="One line: what was found, what was expected, what to do.")
    hint: str | None = Field(description="The setting that would change the outcome, such as `assume_affine`.")


class ErrorAnswer(_Strict):
    """The answer to everything that goes wrong."""

    error: ErrorTold


class SettingsBody(_Strict):
    """What of a prediction may be chosen for one job."""

    tta: bool = Field(False, description="Predict mirrored scans as well, and average; takes longer.")
    uncertainty: bool = Field(False, description="Write how sure the model is of each voxel as well.")
    strict: bool = Field(False, description="Refuse a scan that is unlike the training scans, rather than warn.")
    assume_affine: bool = Field(False, description="Take a NIfTI without orientation as it lies in its file.")
    series: list[str] = Field(
        [], max_length=16, description="SeriesInstanceUIDs, one for each channel, where the scan has several."
    )
    forms: list[Literal["dicom-seg", "rtstruct"]] = Field(
        [], max_length=2, description="What is written beside the NIfTI before the job counts as written."
    )

    def settings(self) -> Settings:
        """As the queue keeps them."""
        told = self.model_dump()
        return Settings(**(told | {"series": tuple(self.series), "forms": tuple(sorted(set(self.forms)))}))


class JobBody(_Strict):
    """What is asked for."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"scan": _ID_EXAMPLE, "model": "hippocampus", "settings": {"tta": True}}]}
    )
    scan: str = Field(pattern=Id, description="The id of a scan that was uploaded.")
    model: str = Field(max_length=200, description="A name from `/api/models`.")
    settings: SettingsBody = SettingsBody()


class ScanAnswer(_Strict):
    """A scan whose files are safe on the server's disk."""

    id: str = Field(examples=[_ID_EXAMPLE])
    bytes: int
    files: int
    created_s: float = Field(description="Seconds since 1970.")
    facts: dict[str, Any] | None = Field(
        description="What reading it told: kind, shape, spacing_mm, orientation, modality, series. Null until "
        "`GET /api/scans/{id}` has read it."
    )


class ProgressAnswer(_Strict):
    """Windows of the scan that are predicted."""

    done: int
    of: int


class ResultAnswer(_Strict):
    """A file of a result, which never changes."""

    form: str
    bytes: int
    sha256: str
    url: str


class JobAnswer(_Strict):
    """A job. It goes received, ready, running, written, delivered, or ends as failed or cancelled."""

    id: str = Field(examples=[_ID_EXAMPLE])
    scan: str
    model: str
    model_sha256: str
    settings: SettingsBody
    version: str = Field(description="Of unetr.")
    state: JobState
    created_s: float = Field(description="Seconds since 1970.")
    updated_s: float = Field(description="Seconds since 1970.")
    attempts: int = Field(description="How often an engine has taken it.")
    cancelling: bool = Field(description="Somebody asked to stop it, and it is stopping.")
    progress: ProgressAnswer | None = Field(description="Of a running job.")
    results: list[ResultAnswer] = Field(description="Of a written job; other forms are made when first asked for.")
    summary: dict[str, Any] = Field(description="Volumes in ml, confidence and verdict of a written job.")
    error: ErrorTold | None = Field(description="Of a failed job, and of one that waits for room on the disk.")


class JobsAnswer(_Strict):
    """Jobs, the newest first."""

    jobs: list[JobAnswer]
    total: int = Field(description="How many there are in these states.")
    next: str | None = Field(description="The address of those that come after these.")


class CorrectionAnswer(_Strict):
    """A corrected segmentation that is kept beside the result."""

    number: int = Field(ge=1)


class CorrectionsAnswer(_Strict):
    """The corrections that are kept of a job."""

    numbers: list[int]


class ModelAnswer(_Strict):
    """A model that this server offers."""

    name: str
    title: str
    sha256: str
    labels: dict[str, int] = Field(description="Name of a label and its value in the label file.")
    colours: dict[str, tuple[int, int, int]] = Field(description="Red, green and blue, 0 to 255.")
    regions: dict[str, list[int]] = Field(description="Names of regions, and the label values that they unite.")
    channels: list[str] = Field(description="One image for each is asked for, in this order.")
    spacing_mm: list[float]
    licence: str
    metrics: dict[str, float]


class ModelsAnswer(_Strict):
    """The models that this server offers."""

    models: list[ModelAnswer]


class HealthAnswer(_Strict):
    """Whether the server answers, or is ready to work."""

    status: Literal["ok", "not ready"]
    reason: str | None = None


def scan_answer(scan: ScanRecord) -> ScanAnswer:
    """A scan, as it is told."""
    facts = dict(scan.facts) or None
    return ScanAnswer(id=scan.id, bytes=scan.bytes, files=len(scan.files), created_s=scan.created_s, facts=facts)


def job_answer(job: JobRecord, progress: Progress | None = None) -> JobAnswer:
    """A job, as it is told: without where it came from."""
    spec = job.spec
    told = {name: getattr(spec.settings, name) for name in SettingsBody.model_fields}
    return JobAnswer(
        id=job.id,
        scan=spec.scan,
        model=spec.model,
        model_sha256=spec.model_sha256,
        settings=SettingsBody.model_validate(told | {"series": list(told["series"]), "forms": list(told["forms"])}),
        version=spec.version,
        state=job.state,
        created_s=job.created_s,
        updated_s=job.updated_s,
        attempts=job.attempts,
        cancelling=job.cancelling,
        progress=None if progress is None else ProgressAnswer(done=progress.done, of=progress.of),
        results=[
            ResultAnswer(form=one.form, bytes=one.bytes, sha256=one.sha256, url=result_url(job.id, one.form))
            for one in job.results
        ],
        summary=dict(job.summary),
        error=None
        if job.error is None
        else ErrorTold(kind=job.error.kind, message=job.error.message, hint=job.error.hint),
    )


def result_url(job: str, form: str) -> str:
    """Where a form of a result is found."""
    return f"/api/jobs/{job}/results/{form}"


def model_answer(model: OfferedModel) -> ModelAnswer:
    """A model, as it is told: without where its files are."""
    regions: Mapping[str, tuple[int, ...]] = model.regions
    return ModelAnswer(
        name=model.name,
        title=model.title,
        sha256=model.sha256,
        labels=dict(model.labels),
        colours={name: (colour[0], colour[1], colour[2]) for name, colour in model.colours.items()},
        regions={name: list(values) for name, values in regions.items()},
        channels=list(model.channels),
        spacing_mm=list(model.spacing_mm),
        licence=model.licence,
        metrics=dict(model.metrics),
    )
