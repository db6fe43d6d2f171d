"""A guarded app of a few routes, asked in this process. httpx speaks to it as a client would; nothing listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, PlainTextResponse

from unetr.serve.options import ServeOptions
from unetr.serve.safety.guard import guarded

LOOPBACK = "http://127.0.0.1:8000"


def small_app() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/")
    @app.get("/healthz")
    @app.get("/api/jobs/{job}")
    async def read(request: Request) -> JSONResponse:
        return JSONResponse({"actor": request.state.actor}, headers={"Access-Control-Allow-Origin": "*"})

    @app.post("/api/jobs")
    @app.delete("/api/jobs/{job}")
    async def change(request: Request) -> JSONResponse:
        return JSONResponse({"actor": request.state.actor, "bytes": len(await request.body())})

    @app.get("/api/broken/{name}")
    async def broken(name: str) -> PlainTextResponse:
        raise RuntimeError(f"the patient {name} broke it")

    return app


@dataclass
class Server:
    """Asked over httpx; each request may come from an address of its own."""

    options: ServeOptions = field(default_factory=ServeOptions)

    def __post_init__(self) -> None:
        self.app: Any = guarded(small_app(), self.options)

    async def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, Any] | None = None,
        *,
        base: str = LOOPBACK,
        client: str = "127.0.0.1",
        **more: Any,
    ) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(client, 40000))
        async with httpx.AsyncClient(transport=transport, base_url=base) as asking:
            return await asking.request(method, path, headers=headers, **more)
