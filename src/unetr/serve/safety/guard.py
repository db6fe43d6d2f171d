"""What stands before every route: is the request for this server, from its own page or a program, and by whom.

Plain ASGI, so that uploads and events pass as they come. Nothing of a refused request is read but its head.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from unetr.serve.options import ServeOptions
from unetr.serve.safety import login
from unetr.serve.safety.exposure import is_loopback
from unetr.serve.safety.headers import allowed_origin, answer_preflight, is_preflight, with_headers
from unetr.serve.safety.log import Logged, log_failure
from unetr.serve.safety.sessions import Session, Sessions, is_right
from unetr.serve.safety.sites import LOOPBACK_NAMES, SAFE_METHODS, Refusal, authority, foreign_page, wrong_host
from unetr.serve.safety.tokens import LOCAL, SlowDownError, TokenKeeper, WrongTokenError

MOST_HEADERS = 100
MOST_HEAD_BYTES = 16 * 1024
# What is answered without a token: whether the server runs, and where a token is given.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/auth", "/auth/", "/auth/token", "/auth/token/"})


def guarded(app: ASGIApp, options: ServeOptions) -> ASGIApp:
    """The app behind all checks. In the request's `state` it finds `actor`, the name of the token of whoever asks
    ("local" where none is needed), and `keeper`, the TokenKeeper."""
    named = map(authority, (options.host, *options.allowed_hosts))
    names = {*LOOPBACK_NAMES, *(found[0] for found in named if found)}
    keeper = TokenKeeper(options.tokens, required=not is_loopback(options.host))
    cookie = login.cookie_name(options.port, options.tls_cert is not None)
    return _Guard(app, frozenset(names), options.allowed_origins, keeper, cookie)


@dataclass(frozen=True, slots=True)
class _Guard:
    app: ASGIApp
    names: frozenset[str]
    origins: tuple[str, ...]
    keeper: TokenKeeper
    cookie: str
    sessions: Sessions = field(default_factory=Sessions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks over web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        logged = Logged(scope, send)
        headers = Headers(scope=scope)
        origin = allowed_origin(headers, self.origins)
        sending = with_headers(logged.send, scope, origin)
        try:
            await self._answer(scope, receive, sending, origin)
        except ClientDisconnect:
            pass
        except Exception as error:  # noqa: BLE001  # its message may name a patient, so it goes no further
            log_failure(error)
            if logged.status == 0:
                told = refused(500, "something went wrong in the server; its log says where")
                await told(scope, receive, sending)
            elif not logged.is_whole:
                raise BrokenAnswerError from None
        finally:
            logged.end()

    async def _answer(self, scope: Scope, receive: Receive, send: Send, origin: str | None) -> None:
        headers = Headers(scope=scope)
        wrong = _wrong_head(scope) or wrong_host(scope, self.names) or foreign_page(scope, headers, self.origins)
        if wrong is not None:
            # Where one request ends may be in doubt, so nothing more is taken from this connection.
            closing = {"Connection": "close"} if wrong.status in (400, 431) else None
            await refused(wrong.status, wrong.message, closing)(scope, receive, send)
        elif origin is not None and is_preflight(scope, headers):
            await answer_preflight(send, origin)
        else:
            answer = await self._at_the_door(scope, receive, headers)
            await (answer or self.app)(scope, receive, send)

    async def _at_the_door(self, scope: Scope, receive: Receive, headers: Headers) -> Response | None:
        """Notes who asks; or the answer, where nobody may ask like this, or the request is about logging in."""
        path, method = scope["path"], scope["method"]
        cookie = cookie_parser(headers.get("cookie", "")).get(self.cookie)
        if path == "/login":
            if not self.keeper.is_needed():
                return RedirectResponse("/", 303)
            if method == "POST":
                return await login.log_in(scope, receive, self.keeper, self.sessions, self.cookie)
            return login.login_page()
        if path == "/logout" and method == "POST":
            return login.log_out(scope, cookie, self.sessions, self.cookie)
        found = self._who(scope, headers, cookie)
        if isinstance(found, Response):
            return found
        actor, session = found
        if path == "/session":
            return login.session_answer(actor, session)
        if session is not None and method not in SAFE_METHODS and not is_right(session, headers.get(login.CSRF_HEADER)):
            return refused(403, "the header X-CSRF-Token is missing or of another session; load the page again")
        scope.setdefault("state", {}).update(actor=actor, keeper=self.keeper)
        return None

    def _who(self, scope: Scope, headers: Headers, cookie: str | None) -> tuple[str, Session | None] | Response:
        """The name of the token behind a request, and its session, if a browser has one; or why it is refused."""
        given = _credentials(headers.get("authorization"))
        if given is not None and self.keeper.is_needed():
            name, token = given
            try:
                return self.keeper.check(token, login.address_of(scope), name).name, None
            except SlowDownError as error:
                return refused(429, str(error), {"Retry-After": str(max(1, round(error.retry_after_s)))})
            except WrongTokenError as error:
                return refused(401, str(error), {"WWW-Authenticate": 'Bearer realm="unetr"'})
        session = self.sessions.find(cookie) if cookie else None
        if session is not None and self.keeper.has(session.token.name, session.token.sha256):
            return session.token.name, session
        if scope["path"] in OPEN_PATHS or not self.keeper.is_needed():
            return LOCAL, None
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        return refused(401, "a token is needed to ask this", {"WWW-Authenticate": 'Bearer realm="unetr"'})


def _wrong_head(scope: Scope) -> Refusal | None:
    """Refuses a head that is too large, or that says two things of where the body ends."""
    headers = scope["headers"]
    names = [name for name, _ in headers]
    if len(names) > MOST_HEADERS or sum(len(name) + len(value) for name, value in headers) > MOST_HEAD_BYTES:
        return Refusal(431, f"a request has at most {MOST_HEADERS} headers and {MOST_HEAD_BYTES} bytes of them")
    if b"transfer-encoding" in names and b"content-length" in names:
        return Refusal(400, "a request has a length or comes in chunks; this one says both")
    return None


class BrokenAnswerError(RuntimeError):
    """An answer that had begun could not be finished: the connection is cut, so that nobody takes it for whole."""


def refused(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An answer that says why not, in the form of all errors of the server."""
    return JSONResponse({"error": {"kind": "Refused", "message": message, "hint": None}}, status, headers)


def _credentials(header: str | None) -> tuple[str | None, str] | None:
    """Name (of Basic only) and token of an Authorization header; None where there is none of these two kinds."""
    kind, _, rest = (header or "").strip().partition(" ")
    if kind.lower() == "bearer":
        return None, rest.strip()
    if kind.lower() != "basic":
        return None
    try:
        name, found, token = base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return (name, token) if found else ("", "")
