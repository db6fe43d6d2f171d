"""Of all addresses that a server has, which are answered without a token, and what they reveal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from tests.serve.running import Served

from unetr.serve.app import create_app
from unetr.serve.options import ServeOptions
from unetr.serve.safety.guard import guarded
from unetr.serve.safety.tokens import new_token

OPEN = {
    ("GET", "/healthz"): {"status": "ok", "reason": None},
    ("GET", "/readyz"): {"status": "ok", "reason": None},
    ("GET", "/auth/"): {"enabled": True, "client_id": "unetr", "realm": ""},
}


def routes_of(routes: list[Any]) -> Iterator[tuple[str, str]]:
    """Method and path of every route, also of those in routers."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner.routes)
        for method in getattr(route, "methods", None) or ():
            yield method, route.path


def test_without_a_token_a_server_tells_whether_it_works_and_no_more(whole: Served, tmp_path: Path) -> None:
    options = ServeOptions(tokens=tmp_path / "tokens.json")
    new_token(tmp_path / "tokens.json", "ward")
    app = create_app(whole.service, options)
    asked = sorted(set(routes_of(app.routes)))
    assert {("GET", "/metrics"), ("GET", "/api/jobs"), ("GET", "/openapi.json"), ("POST", "/auth/token")} <= set(asked)
    assert {("GET", "/info/"), ("GET", "/logs/"), ("PUT", "/session/"), ("HEAD", "/api/models")} <= set(asked)
    paths = [*asked, ("GET", "/session"), ("GET", "/js/app.js")]
    answers = asyncio.run(all_answers(guarded(app, options), paths))
    for (method, path), answer in answers.items():
        if (method, path) in OPEN:
            assert answer.json() == OPEN[method, path]
        elif method == "HEAD":
            assert answer.status_code == (200 if ("GET", path) in OPEN else 401), path
        elif path == "/auth/token":
            assert (answer.status_code, answer.json()["error"]["kind"]) == (401, "HTTPError")
        else:
            assert (answer.status_code, answer.json()["error"]["kind"]) == (401, "Refused"), (method, path)


async def all_answers(app: Any, asked: list[tuple[str, str]]) -> dict[tuple[str, str], httpx.Response]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        return {(one, path): await client.request(one, re.sub(r"\{[^}]*\}", "0" * 32, path)) for one, path in asked}
