"""All addresses of MONAI Label's API, as its clients ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from unetr.serve.monai_label import auth
from unetr.serve.monai_label.datastore import Datastore
from unetr.serve.monai_label.infer import Infer
from unetr.serve.monai_label.info import info
from unetr.serve.monai_label.named.images import Images
from unetr.serve.monai_label.named.scans import Scans
from unetr.serve.monai_label.sessions import SessionRoutes
from unetr.serve.monai_label.viewer.ohif import open_viewer
from unetr.serve.web.errors import NotFoundError
from unetr.serve.web.serving import Serving

_MOST_LINES = 1000
_NO_TRAINING = "this server does not train; it segments with the models that it was given"


def monai_label_router(serving: Serving) -> APIRouter:
    """The routes, for the root of the app. Raises InputError for options that name no OHIF or no PACS."""
    scans = Scans(serving, Images())
    sessions, store, rest = SessionRoutes(scans), Datastore(scans), _Rest(serving, Datastore(scans))
    router = APIRouter(tags=["MONAI Label"])
    for method, path, route in (
        ("GET", "/info/", rest.info),
        ("GET", "/logs/", rest.logs),
        ("POST", "/activelearning/{strategy}", rest.next_sample),
        ("GET", "/train/", rest.no_training),
        ("POST", "/train/", rest.no_training),
        ("POST", "/train/{model}", rest.no_training),
        ("DELETE", "/train/", rest.no_training),
        ("GET", "/auth/", auth.enabled),
        ("POST", "/auth/token", auth.token),
        ("GET", "/auth/token/valid", auth.valid),
        ("POST", "/infer/{model}", Infer(serving, scans).infer),
        ("PUT", "/session/", sessions.create),
        ("GET", "/session/{session_id}", sessions.read),
        ("DELETE", "/session/{session_id}", sessions.remove),
        ("GET", "/datastore/", store.listed),
        ("PUT", "/datastore/", store.add_image),
        ("PUT", "/datastore/image", store.add_image),
        ("GET", "/datastore/image", store.read_image),
        ("PUT", "/datastore/label", store.save_label),
        ("GET", "/datastore/label", store.read_label),
        ("GET", "/datastore/label/info", store.label_info),
    ):
        router.add_api_route(path, route, methods=[method], response_model=None)
    if serving.options.ohif is not None:
        router.add_api_route("/ohif/{path:path}", open_viewer(serving.options.ohif).file, response_model=None)
    if serving.options.pacs is not None:
        router.include_router(_pacs_router(serving.options.pacs))
    return router


def _pacs_router(address: str) -> APIRouter:
    from unetr.serve.monai_label.viewer.proxy import PacsProxy

    proxy = PacsProxy(address)
    router = APIRouter(lifespan=proxy.lifespan)
    for kind in ("qido", "wado"):
        router.add_api_route(f"/proxy/dicom/{kind}/{{path:path}}", proxy.read, response_model=None)
    return router


@dataclass(frozen=True, slots=True)
class _Rest:
    serving: Serving
    store: Datastore

    async def info(self) -> dict[str, Any]:
        """The models and their labels."""
        return info(self.serving.service.models, await self.store.listed())

    async def next_sample(self, strategy: str) -> dict[str, Any]:
        """Nothing: which image a person looks at next is for the person to say."""
        return {}

    async def no_training(self, model: str = "") -> None:
        """404, by which clients know that nothing is trained."""
        raise NotFoundError(_NO_TRAINING)

    async def logs(self, lines: int = 300) -> PlainTextResponse:
        """The last jobs: when, which, how it stands. Nothing of a patient is in it."""
        count = min(max(lines, 1), _MOST_LINES)
        jobs = await self.serving.threads.quick(self.serving.service.store.jobs, limit=count)
        told = [f"{_time(job.updated_s)} {job.id} {job.spec.model} {job.state}" for job in reversed(jobs)]
        return PlainTextResponse("\n".join([*told, ""]))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
