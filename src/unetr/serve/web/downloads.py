"""Files that are sent whole or in part, and knowing when all of one has been sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from fastapi import Request, Response
from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

Sent = Callable[[], Awaitable[object]]


def download(request: Request, path: Path, name: str, kind: str, sha256: str, sent: Sent | None = None) -> Response:
    """A file as an answer, or that the client has it already. sent: called once all of it went to the client.

    name: what the client may call it, which is made of our own words. kind: its media type.
    """
    # It never changes, but must not be kept where another person could find it.
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "private, no-cache"}
    if _has(request.headers.get("if-none-match", ""), sha256):
        return Response(status_code=304, headers=headers)
    return _Download(path, name, kind, headers, sent)


def page_file(request: Request, path: Path, kind: str, sha256: str) -> Response:
    """A file that is shown rather than saved. Browsers keep it, and ask whether it is still the same."""
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "no-cache"}
    if _has(request.headers.get("if-none-match", ""), sha256):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type=kind, headers=headers)


def _has(told: str, sha256: str) -> bool:
    return any(one.strip().removeprefix("W/") in (f'"{sha256}"', "*") for one in told.split(","))


class _Download(FileResponse):
    def __init__(self, path: Path, name: str, kind: str, headers: dict[str, str], sent: Sent | None) -> None:
        super().__init__(path, media_type=kind, filename=name, headers=headers)
        self._sent = sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        whole = False

        async def watched(message: Message) -> None:
            nonlocal whole
            if message["type"] == "http.response.start":
                whole = message["status"] == 200 and scope["method"] == "GET"
            elif whole and not message.get("more_body") and await _is_gone(receive):
                whole = False
            await send(message)

        await super().__call__(scope, receive, watched)
        if whole and self._sent is not None:
            await self._sent()


async def _is_gone(receive: Receive) -> bool:
    """Whether the client has gone away by now."""
    message: Message = {}
    with anyio.CancelScope() as scope:
        scope.cancel()
        message = await receive()
    return message.get("type") == "http.disconnect"
