"""What every answer tells the browser: run nothing from elsewhere, show nothing elsewhere, keep nothing.

The page's own needs are in its policy: niivue has its fonts' pictures in data URIs, and nothing else from elsewhere.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Scope, Send

PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# Asked for by viewers of other origins that are allowed by name.
_METHODS = "GET, HEAD, POST, PUT, DELETE"
_ASKED = "authorization, content-type, last-event-id"
_TOLD = "content-disposition, retry-after"
_PREFLIGHT_S = "600"


def with_headers(send: Send, scope: Scope, allowed_origin: str | None) -> Send:
    """Sends the answer's start with the headers that all answers have. A policy that the answer has itself is kept.

    allowed_origin: of the page that asks, if it is another site's and may read the answer.
    """

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _ALWAYS.items():
                headers[name] = value
            headers.setdefault("Content-Security-Policy", PAGE_POLICY)
            headers.setdefault("Referrer-Policy", "no-referrer")
            # Answers hold images of patients, which no browser keeps on disk. Files of the page may say otherwise.
            if scope["path"].startswith("/api"):
                headers["Cache-Control"] = "no-store"
            headers.setdefault("Cache-Control", "no-store")
            for name in [name for name in headers if name.lower().startswith("access-control-")]:
                del headers[name]
            if allowed_origin is not None:
                headers["Access-Control-Allow-Origin"] = allowed_origin
                headers["Access-Control-Expose-Headers"] = _TOLD
                headers.add_vary_header("Origin")
        await send(message)

    return sending


def allowed_origin(headers: Headers, origins: tuple[str, ...]) -> str | None:
    """The origin of the page that asks, where it is one of the allowed other ones."""
    origin = headers.get("origin")
    return origin if origin in origins else None


def is_preflight(scope: Scope, headers: Headers) -> bool:
    """Whether a browser asks what it may ask."""
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


async def answer_preflight(send: Send, origin: str) -> None:
    """What a page of an allowed origin may ask: anything, with a token of its own; cookies are not for it."""
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _ASKED,
        "Access-Control-Max-Age": _PREFLIGHT_S,
        "Vary": "Origin",
    }
    await send(
        {"type": "http.response.start", "status": 204, "headers": MutableHeaders(headers).raw},
    )
    await send({"type": "http.response.body", "body": b""})
