"""`/auth/`: 3D Slicer asks for a name and a password. The password is a token of this server; the name is not used."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from fastapi import Request
from starlette.exceptions import HTTPException

from unetr.serve.safety.login import address_of
from unetr.serve.safety.tokens import LOCAL, SlowDownError, TokenKeeper, WrongTokenError
from unetr.serve.web.errors import RefusedError

_MOST_FORM_BYTES = 4096


def _keeper(request: Request) -> TokenKeeper | None:
    """Who knows the tokens, where the app stands behind the guard."""
    keeper: TokenKeeper | None = getattr(request.state, "keeper", None)
    return keeper


async def enabled(request: Request) -> dict[str, Any]:
    """Whether a token is needed."""
    keeper = _keeper(request)
    return {"enabled": keeper is not None and keeper.is_needed(), "client_id": "unetr", "realm": ""}


async def token(request: Request) -> dict[str, str | None]:
    """Gives the password back as the token to send from now on, if it is one."""
    keeper = _keeper(request)
    if keeper is None or not keeper.is_needed():
        return {"access_token": None, "token_type": None}
    given = await _password(request)
    try:
        keeper.check(given, address_of(request.scope))
    except SlowDownError as error:
        wait = {"Retry-After": str(max(1, round(error.retry_after_s)))}
        raise HTTPException(429, str(error), wait) from error
    except WrongTokenError as error:
        raise HTTPException(401, "the password is no token of this server", {"WWW-Authenticate": "Bearer"}) from error
    return {"access_token": given, "token_type": "bearer"}


async def valid(request: Request) -> dict[str, str]:
    """Who asks: whoever has no sound token does not come as far as this."""
    return {"username": getattr(request.state, "actor", LOCAL)}


async def _password(request: Request) -> str:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_FORM_BYTES:
            raise RefusedError("the form is larger than a name and a password can be")
    try:
        return parse_qs(body.decode("ascii"), max_num_fields=16).get("password", [""])[0]
    except ValueError as error:
        raise RefusedError("this is no form with a name and a password") from error
