"""`/datastore/`: images that clients name, the labels of their jobs, and the corrections that people send back.

It is a view of the queue: a scan is an image, its last written job the label `original`, a correction `final`. Images
are listed by their ids in the queue; the names that clients give are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request, Response

from unetr.core.text.reading import parse_json
from unetr.errors import InputError
from unetr.queue.record import FINISHED, JobRecord
from unetr.queue.service import OfferedModel
from unetr.serve.monai_label import labels
from unetr.serve.monai_label.answers import removing
from unetr.serve.monai_label.info import names_of, numbers_of
from unetr.serve.monai_label.named.scans import Named, Scans, one_file
from unetr.serve.web.downloads import SentFile
from unetr.serve.web.errors import NotFoundError, WrongStateError
from unetr.serve.web.serving import actor_of
from unetr.serve.web.uploads import receive

ORIGINAL, FINAL = "original", "final"
_MOST_JOBS = 1000
_NII, _GZIP = "application/octet-stream", "application/gzip"


@dataclass(frozen=True, slots=True)
class Datastore:
    """The routes."""

    scans: Scans

    async def listed(self, output: str = "stats") -> Any:
        """How many images there are, or all of them by their ids, with what their labels mean."""
        return await self.scans.serving.threads.quick(self._listed, output)

    async def add_image(self, request: Request, image: str = "") -> dict[str, str]:
        """Keeps a scan, which the client names as it likes, or as nothing: then by its id in the queue."""
        async with receive(request, self.scans.serving, ("params",)) as upload:
            named = await self.scans.given([one_file(upload.files)])
        if image:
            self.scans.images.name(image, named.scan)
        return {"image": image or named.scan}

    async def read_image(self, image: str) -> Response:
        """The image as NIfTI, as it is predicted on."""
        serving = self.scans.serving
        named = await self.scans.find(image)
        path = await serving.threads.reader(serving.service.view, named.scan)
        return SentFile(path, _NII, f"{named.scan}.nii")

    async def save_label(self, request: Request, image: str, tag: str = FINAL) -> dict[str, Any]:
        """Keeps a correction of the last result for this image."""
        serving = self.scans.serving
        async with receive(request, serving, ("params",)) as upload:
            file = one_file(upload.of("label"))
            job = await self._job(await self.scans.find(image))
            meant = await serving.threads.reader(self._meant, upload.fields.get("params"), job)
            actor = actor_of(request)
            number = await serving.threads.reader(serving.service.correct, job.id, file.path, meant, actor)
        return {"image": image, "label": image, "job": job.id, "correction": number, "tag": tag}

    async def read_label(self, label: str, tag: str = ORIGINAL) -> Response:
        """The labels of an image, numbered by position: what they mean is in `/datastore/label/info`."""
        threads = self.scans.serving.threads
        job = await self._job(await self.scans.find(label))
        path = await threads.reader(self._written, job, tag)
        return SentFile(path, _GZIP, path.name, after=removing(path.parent))

    async def label_info(self, label: str, tag: str = ORIGINAL) -> dict[str, Any]:
        """What the numbers of the label mean, and what is known of the job."""
        job = await self._job(await self.scans.find(label))
        names = await self.scans.serving.threads.reader(self._names, job, tag)
        return {"ts": int(job.updated_s), "model": job.spec.model, "params": {"label_names": names}}

    async def _job(self, named: Named) -> JobRecord:
        """The job for whoever named the image, or else the last one that was written of it. Raises WrongStateError."""
        quick, store = self.scans.serving.threads.quick, self.scans.serving.service.store
        if named.job is not None:
            return await quick(store.job, named.job)
        job = (await quick(self._last_jobs)).get(named.scan)
        if job is None:
            raise WrongStateError("the image has no result yet; run a model first, then send its correction")
        return job

    def _listed(self, output: str) -> Any:
        if output == "train":
            return []
        jobs = self._last_jobs()
        if output != "all":
            return stats(jobs, self._corrections)
        return {"name": "unetr", "description": "", "objects": {scan: self._object(job) for scan, job in jobs.items()}}

    def _last_jobs(self) -> dict[str, JobRecord]:
        """The last written job of each scan."""
        found: dict[str, JobRecord] = {}
        for job in self.scans.serving.service.store.jobs(FINISHED, _MOST_JOBS):
            found.setdefault(job.spec.scan, job)
        return found

    def _model(self, job: JobRecord) -> OfferedModel:
        model = self.scans.serving.service.models.get(job.spec.model)
        if model is None:
            raise NotFoundError("the model of this result is not offered any more")
        return model

    def _corrections(self, job: JobRecord) -> int:
        """The number of the last one, 0 where there is none."""
        return max(self.scans.serving.service.corrections(job.id), default=0)

    def _labels(self, job: JobRecord, tag: str) -> Path:
        """The file of the queue. Raises NotFoundError."""
        service = self.scans.serving.service
        if tag == FINAL:
            number = self._corrections(job)
            if not number:
                raise NotFoundError("nobody has corrected this label")
            return service.correction(job.id, number, "labels")
        if tag == ORIGINAL:
            return service.result(job.id, "labels")
        raise NotFoundError(f"there is no such label; expected {ORIGINAL} or {FINAL}")

    def _names(self, job: JobRecord, tag: str) -> labels.Names:
        return labels.names_in(self._labels(job, tag), names_of(self._model(job)))

    def _written(self, job: JobRecord, tag: str) -> Path:
        """The file for a client, in a folder of its own."""
        found, values = self._labels(job, tag), names_of(self._model(job))
        with labels.room(self.scans.serving.service) as folder:
            path = folder / f"{job.id}{labels.DEFAULT_ENDING}"
            labels.write_for_client(found, path, values, gapless=True, compressed=True)
            return path

    def _meant(self, params: str | None, job: JobRecord) -> tuple[int, ...]:
        """The model's value for each number in the file; empty where the numbers are the values.

        A client that does not say what its numbers mean has them from here. Where a label of the result does not
        occur, they may be the gapless ones or not; then nobody guesses. Raises InputError.
        """
        told = parse_json(params, "params") if params else {}
        label_info = told.get("label_info") if isinstance(told, dict) else None
        values = names_of(self._model(job))
        if label_info is None:
            given = self._names(job, ORIGINAL)
            if any(values[name] != number for name, number in given.items()) or numbers_of(values) != values:
                raise InputError("what the numbers in the label file mean is in doubt; send label_info in params")
            return ()
        if not isinstance(label_info, list):
            raise InputError("label_info: is no list; expected one entry for each segment")
        return labels.meant_values(label_info, values)

    def _object(self, job: JobRecord) -> dict[str, Any]:
        info = {"ts": int(job.updated_s), "model": job.spec.model}
        tags = [ORIGINAL, FINAL] if self._corrections(job) else [ORIGINAL]
        return {
            "image": {"ext": ".nii", "info": {"ts": int(job.created_s)}},
            "labels": {tag: {"ext": labels.DEFAULT_ENDING, "info": info} for tag in tags},
        }


def stats(jobs: Mapping[str, JobRecord], corrections: Any) -> dict[str, Any]:
    """How many images have labels, and how many of them a person has corrected."""
    completed = sum(bool(corrections(job)) for job in jobs.values())
    tags = {ORIGINAL: len(jobs), FINAL: completed}
    return {"total": len(jobs), "completed": completed, "label_tags": tags, "train": []}
