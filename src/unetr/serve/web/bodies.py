"""How much of a request is read into memory: little, unless a route writes it to disk as it arrives."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1_000_000
_LARGE = "takes_large_body"


def takes_large_body(request: Request) -> None:
    """To be called by a route that has limits of its own, before it reads the body."""
    setattr(request.state, _LARGE, True)


@dataclass(frozen=True, slots=True)
class BoundedBodies:
    """An app whose routes get no more of a body than MOST_BYTES, unless they take large ones."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state, read = scope.setdefault("state", {}), 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BYTES and not state.get(_LARGE):
                # FastAPI lets no other error through while it reads a body.
                raise HTTPException(413, f"the request has more than {MOST_BYTES} bytes, which is the most here")
            return message

        await self.app(scope, receiving, send)
