"""`/infer/{model}`: the request waits until the job is done. Whoever goes away stops the job that was theirs alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from unetr.core.text.reading import parse_json
from unetr.errors import InputError, MachineError, NoRoomError
from unetr.queue.record import ENDED, FINISHED, JobRecord, JobState, Settings
from unetr.queue.service import OfferedModel
from unetr.serve.monai_label import labels
from unetr.serve.monai_label.answers import multipart, removing
from unetr.serve.monai_label.info import names_of
from unetr.serve.monai_label.named.scans import Named, Scans
from unetr.serve.web.downloads import SentFile
from unetr.serve.web.errors import NotFoundError, WrongStateError
from unetr.serve.web.serving import Serving, actor_of
from unetr.serve.web.uploads import receive

Output = Literal["image", "json", "all", "dicom_seg"]
DOOR = {"door": "monai-label"}
# How soon it is noticed that a client has gone away.
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client's `params` say. ending: of the file. as_offered: numbers are those of `/info/`, not gapless."""

    ending: str
    compressed: bool
    as_offered: bool
    settings: Settings

    @staticmethod
    def of(told: str | None) -> Asked:
        """Raises InputError for what is no JSON object or asks for another kind of file. Unknown keys are left."""
        params = parse_json(told, "params") if told else {}
        if not isinstance(params, dict):
            raise InputError("params: is no JSON object; expected one")
        ending = params.get("result_extension") or labels.DEFAULT_ENDING
        if ending not in labels.ENDINGS:
            raise InputError(f"result_extension: is not known; expected one of {', '.join(labels.ENDINGS)}")
        return Asked(
            ending,
            params.get("result_compress") is not False,
            params.get("restore_label_idx") is False,
            Settings(tta=params.get("tta") is True),
        )


@dataclass(frozen=True, slots=True)
class Infer:
    """The route. waiting: how many requests wait for each job."""

    serving: Serving
    scans: Scans
    waiting: Counter[str] = field(default_factory=Counter)

    async def infer(
        self, request: Request, model: str, image: str = "", session_id: str = "", output: Output = "all"
    ) -> Response:
        """The labels of a scan: uploaded with the request, of a session, or named by `image`."""
        offered = self.serving.service.models.get(model)
        if offered is None:
            known = ", ".join(self.serving.service.models)
            raise NotFoundError(f"there is no such model; expected one of {known}")
        async with receive(request, self.serving, ("params",)) as upload:
            asked = Asked.of(upload.fields.get("params"))
            scan = await self.scans.given(upload.of("file")) if upload.of("file") else None
        named = scan or await self.scans.current(image, session_id)
        job = await self._done(request, named, model, asked)
        self.scans.note(image, session_id, named, job.id)
        return await self._answer(job, offered, asked, output)

    async def _done(self, request: Request, named: Named, model: str, asked: Asked) -> JobRecord:
        """The job once it has ended well. Raises QueueFullError, InputError, MachineError, WrongStateError; NoRoomError
        for one that goes on as soon as the disk has room."""
        service, threads = self.serving.service, self.serving.threads
        began = time.time()
        origin = DOOR | {"actor": actor_of(request)}
        job = await threads.reader(service.submit, named.scan, model, asked.settings, origin=origin)
        mine = job.created_s >= began
        seen = 0
        self.waiting[job.id] += 1
        try:
            while job.state not in ENDED and job.error is None:
                seen = await self.serving.waits.change(job.id, seen, _LOOK_S)
                job = await threads.quick(service.store.job, job.id)
                if job.state not in ENDED and await request.is_disconnected():
                    raise WrongStateError("the client has gone away")
        except BaseException:
            if mine and self.waiting[job.id] == 1:
                service.cancel(job.id, actor_of(request))
            raise
        finally:
            self.waiting[job.id] -= 1
            if not self.waiting[job.id]:
                del self.waiting[job.id]
        return _well(job)

    async def _answer(self, job: JobRecord, model: OfferedModel, asked: Asked, output: Output) -> Response:
        service, threads = self.serving.service, self.serving.threads
        sent = partial(threads.quick, self._deliver, job.id)
        if output == "dicom_seg":
            path = await threads.reader(service.result, job.id, "dicom-seg")
            return SentFile(path, "application/dicom", f"{job.id}.seg.dcm", sent=sent)
        path, names = await threads.reader(self._labels, job.id, model, asked)
        told = {"job": job.id, **job.summary, "label_names": names}
        after = removing(path.parent)
        if output == "json":
            await after()
            return JSONResponse(told)
        if output == "image":
            return SentFile(path, "application/octet-stream", path.name, sent=sent, after=after)
        return multipart({"params": json.dumps(told)}, path, sent, after)

    def _labels(self, job: str, model: OfferedModel, asked: Asked) -> tuple[Path, dict[str, int]]:
        """The file for a client, in a folder of its own, and what its numbers mean."""
        found = self.serving.service.result(job, "labels")
        gapless, values = not asked.as_offered, names_of(model)
        with labels.room(self.serving.service) as folder:
            path = folder / f"{job}{asked.ending}"
            return path, labels.write_for_client(found, path, values, gapless=gapless, compressed=asked.compressed)

    def _deliver(self, job: str) -> None:
        store = self.serving.service.store
        record = store.job(job)
        if record.state is JobState.WRITTEN and record.origin.get("door") == DOOR["door"]:
            store.make_delivered(job)


def _well(job: JobRecord) -> JobRecord:
    """The job, if it has a result. Raises what went wrong with it."""
    if job.state in FINISHED:
        return job
    if job.error is None:
        raise WrongStateError("the job was cancelled; ask again")
    if job.error.kind == InputError.__name__:
        raise InputError(job.error.message)
    raise (NoRoomError if job.error.kind == NoRoomError.__name__ else MachineError)(job.error.message)
