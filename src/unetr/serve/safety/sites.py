"""Which site a request is for, and which site's page has made it.

A browser sends requests for any page that is open in it. Two things keep other sites' pages out: the Host header names
this server, so no name of another's has been pointed at this machine (DNS rebinding); and what the browser says of the
page behind the request (Origin, Sec-Fetch-Site) is this server's own page. Programs other than browsers say nothing of
a page.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

_AUTHORITY = re.compile(
    r"(?P<host>[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])\.?(:(?P<port>[0-9]{1,5}))?"
)
_OWN_PAGE = ("same-origin", "none")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not looked at further: a status, and words for people."""

    status: int
    message: str


def authority(text: str) -> tuple[str, int | None] | None:
    """Host (lower case, without a last dot) and port of what a Host header or an origin names; None for what is none.

    >>> authority("Localhost.:8000")
    ('localhost', 8000)
    """
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    return None if port is not None and not 0 < port < 65536 else (found["host"], port)


def wrong_host(scope: Scope, names: Collection[str]) -> Refusal | None:
    """Refuses a request that is not for this server.

    names: of this server, in lower case. The address that the connection came in at is one as well, since a page can
    only be at it if this server sent it. Any port is right: it may have been forwarded.
    """
    if not scope["path"].startswith("/") or not scope.get("raw_path", b"/").startswith(b"/"):
        return Refusal(400, "the address of a request begins with a slash here")
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1:
        return Refusal(400, f"a request names its host once; this one has {len(hosts)}")
    found = authority(hosts[0].decode("latin-1"))
    if found is None:
        return Refusal(400, "the Host header names no host")
    local = (scope.get("server") or ("",))[0].lower().removeprefix("::ffff:")
    if found[0] in names or found[0].strip("[]").removeprefix("::ffff:") == local:
        return None
    return Refusal(421, "this server has another name; whoever runs it can allow this one")


def foreign_page(scope: Scope, headers: Headers, origins: Collection[str]) -> Refusal | None:
    """Refuses what a browser sends for another site's page.

    Nothing of this server's may be changed, embedded or read by one; but a link to its page may be followed.
    origins: of other sites' pages that may ask nevertheless.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin in origins:
        return None
    if origin is not None and not _is_own(origin, scope, headers):
        return Refusal(403, "another site's page may not ask this server")
    if site is None or site in _OWN_PAGE or _is_followed_link(scope, headers):
        return None
    return Refusal(403, "another site's page may not ask this server")


def _is_own(origin: str, scope: Scope, headers: Headers) -> bool:
    """Over TLS the page has come over TLS, too. Without it, a proxy in front may have added it."""
    scheme, _, rest = origin.partition("://")
    if scheme not in (("https",) if scope["scheme"] == "https" else ("http", "https")):
        return False
    usual = 443 if scheme == "https" else 80
    theirs, own = authority(rest), authority(headers.get("host", ""))
    return theirs is not None and own is not None and theirs[0] == own[0] and (theirs[1] or usual) == (own[1] or usual)


def _is_followed_link(scope: Scope, headers: Headers) -> bool:
    return (
        scope["method"] == "GET"
        and scope["path"] in ("/", "/login")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )
