"""The page where a token is given, as HTML without any script, and the answers that begin and end a session."""

from __future__ import annotations

import base64
import hashlib
import html
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope

from unetr.serve.safety.sessions import LONGEST_S, Session, Sessions
from unetr.serve.safety.tokens import LOCAL, SlowDownError, TokenKeeper, WrongTokenError

PATHS = ("/login", "/logout", "/session")
CSRF_HEADER = "x-csrf-token"
# A form with one token.
_MOST_FORM_BYTES = 4096

_STYLE = """
:root { color-scheme: dark light; font: 16px/1.5 system-ui, sans-serif; }
body { display: grid; min-height: 90vh; place-content: center; margin: 1rem; }
main { width: min(22rem, 90vw); }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
label { display: block; font-weight: 600; }
input, button { box-sizing: border-box; width: 100%; min-height: 2.75rem; margin: .25rem 0 1rem; padding: .5rem .75rem;
  font: inherit; border: 1px solid GrayText; border-radius: .5rem; }
button { border: 0; background: #0b66c3; color: #fff; font-weight: 600; cursor: pointer; }
:focus-visible { outline: 3px solid #4aa3ff; outline-offset: 2px; }
.wrong { border-left: 4px solid #d5382c; padding-left: .75rem; }
.hint { color: GrayText; font-size: .875rem; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in - unetr</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>unetr</h1>
{wrong}<form method="post" action="/login">
<label for="token">Access token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus{described}>
<button>Log in</button>
</form>
<p class="hint">Whoever runs this server makes tokens.</p>
</main>
</body>
</html>
"""


def cookie_name(port: int, secure: bool) -> str:
    """Of the cookie with the session: a server's own, since all servers of a machine are sent each other's cookies."""
    return f"__Host-unetr-{port}" if secure else f"unetr-{port}"


def login_page(wrong: str = "", status: int = 200) -> Response:
    """The page. wrong: what was wrong with the last token."""
    told = f'<p class="wrong" id="wrong" role="alert">{html.escape(wrong)}</p>\n' if wrong else ""
    described = ' aria-invalid="true" aria-describedby="wrong"' if wrong else ""
    page = _PAGE.format(style=_STYLE, wrong=told, described=described)
    # Of a page that tells no referrer, browsers send forms with "Origin: null", which is refused as another site's.
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
    return HTMLResponse(page, status, headers)


async def log_in(scope: Scope, receive: Receive, keeper: TokenKeeper, sessions: Sessions, cookie: str) -> Response:
    """Begins a session for the token in the form, or shows the page again with what was wrong."""
    token = await _token(receive)
    if token is None:
        return login_page("This was not the form of this page; give the token again.", 400)
    try:
        known = keeper.check(token, address_of(scope))
    except SlowDownError as error:
        answer = login_page(f"Too many wrong tokens. Wait {error.retry_after_s:.0f} seconds, then try again.", 429)
        answer.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        return answer
    except WrongTokenError:
        return login_page("This token is not known here. Copy it again, to its last letter.", 401)
    answer = RedirectResponse("/", 303)
    session, secure = sessions.begin(known), is_over_tls(scope)
    answer.set_cookie(cookie, session, int(LONGEST_S), path="/", secure=secure, httponly=True, samesite="strict")
    return answer


def log_out(scope: Scope, session: str | None, sessions: Sessions, cookie: str) -> Response:
    """Ends the session and takes its cookie away."""
    if session is not None:
        sessions.end(session)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(cookie, path="/", secure=is_over_tls(scope), httponly=True, samesite="strict")
    return answer


def session_answer(actor: str, session: Session | None) -> Response:
    """What the page needs to know of itself: who it asks for, and what to send as X-CSRF-Token, if anything."""
    return JSONResponse(
        {"actor": actor, "csrf": session.csrf if session else None, "logged_in": actor != LOCAL},
        headers={"Cache-Control": "no-store"},
    )


def is_over_tls(scope: Scope) -> bool:
    """Whether the browser speaks TLS, here or to a proxy in front. Of a proxy only the browser's own word is taken, the
    origin of its page, and never a proxy's: anybody can send X-Forwarded-Proto."""
    origin = Headers(scope=scope).get("origin", "")
    return scope["scheme"] == "https" or origin.startswith("https://")


def address_of(scope: Scope) -> str:
    """The address of the client."""
    return str((scope.get("client") or ("",))[0])


async def _token(receive: Receive) -> str | None:
    """The token of a form; None where it has none, or is larger than it can be."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > _MOST_FORM_BYTES:
            return None
        if not message.get("more_body", False):
            break
    try:
        found = parse_qs(body.decode("ascii"), max_num_fields=8).get("token")
    except ValueError:
        return None
    return found[0].strip() if found else None
