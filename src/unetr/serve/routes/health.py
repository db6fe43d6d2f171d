"""Whether the server answers, whether it can work, and what it counts."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from unetr.serve.schemas import HealthAnswer
from unetr.serve.web.metrics import exposition
from unetr.serve.web.serving import Here

router = APIRouter(tags=["health"])
# So little disk is left that an upload or a result may not fit.
_LEAST_FREE_BYTES = 100_000_000


@router.get("/healthz", summary="Whether the server answers")
async def healthz() -> HealthAnswer:
    """Answered at once, whatever else goes on."""
    return HealthAnswer(status="ok")


@router.get("/readyz", summary="Whether the server can work", responses={503: {"model": HealthAnswer}})
async def readyz(response: Response, serving: Here) -> HealthAnswer:
    """503 where the engine is not there or the disk is full."""
    health = await serving.threads.quick(serving.service.health)
    reason = None
    if not health.engine:
        reason = "the engine is not running"
    elif health.no_room:
        reason = "the disk has no room for a result, which waits until there is some"
    elif health.free_bytes < _LEAST_FREE_BYTES:
        reason = "the disk is full"
    if reason is None:
        return HealthAnswer(status="ok")
    response.status_code = 503
    return HealthAnswer(status="not ready", reason=reason)


@router.get("/metrics", summary="Counts for Prometheus", response_class=PlainTextResponse)
async def metrics(serving: Here) -> Response:
    """Jobs in each state, requests, seconds, bytes, and how the engine does; nothing of patients."""
    counts = await serving.threads.quick(serving.service.store.counts)
    health = await serving.threads.quick(serving.service.health)
    text = exposition(serving.meters, counts, health)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
