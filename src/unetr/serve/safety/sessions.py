"""Who has logged in with a browser: kept in this process only, so that a restart ends all sessions."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from unetr.serve.safety.tokens import KnownToken

IDLE_S = 3600.0
LONGEST_S = 12 * 3600.0
_MOST = 1000


@dataclass(slots=True)
class Session:
    """csrf: what the page sends with each request that changes something, and another site cannot know."""

    token: KnownToken
    csrf: str
    began: float
    used: float


@dataclass(slots=True)
class Sessions:
    """The sessions of one server. clock: seconds that only grow."""

    clock: Callable[[], float] = time.monotonic
    _open: dict[str, Session] = field(default_factory=dict)

    def begin(self, token: KnownToken) -> str:
        """A new session's id, which only its cookie has."""
        now = self.clock()
        self._open = {key: one for key, one in self._open.items() if not _is_over(one, now)}
        while len(self._open) >= _MOST:
            del self._open[min(self._open, key=lambda key: self._open[key].used)]
        session = secrets.token_urlsafe(32)
        self._open[_key(session)] = Session(token, secrets.token_urlsafe(32), now, now)
        return session

    def find(self, session: str) -> Session | None:
        """The session of this id, used once more; None where there is none, or it is over."""
        found = self._open.get(_key(session))
        now = self.clock()
        if found is None or _is_over(found, now):
            self.end(session)
            return None
        found.used = now
        return found

    def end(self, session: str) -> None:
        """Ends a session, if there is one."""
        self._open.pop(_key(session), None)


def is_right(session: Session, csrf: str | None) -> bool:
    """Whether this is what the session's own page sends."""
    return csrf is not None and hmac.compare_digest(csrf.encode(), session.csrf.encode())


def _is_over(session: Session, now: float) -> bool:
    return now - session.used > IDLE_S or now - session.began > LONGEST_S


def _key(session: str) -> str:
    """Looked up by its digest, so that the time of a comparison tells nothing of the id."""
    return hashlib.sha256(session.encode("utf-8", "surrogateescape")).hexdigest()
