"""One line for each request, and none of what a patient's name may be in: addresses, queries, bodies, headers, errors'
messages. A route is told as it was declared, such as /api/jobs/{job}.
"""

from __future__ import annotations

import logging
import time
import traceback
from pathlib import PurePath

from starlette.types import Message, Scope, Send

LOGGER = logging.getLogger("unetr.serve")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Logged:
    """Writes the line of one request. Sends what it is given."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        self.status = 0
        self.is_whole = False

    async def send(self, message: Message) -> None:
        """Passes a message on and notes the status, and whether it was the last."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    def end(self) -> None:
        """To be called once, when the answer is over."""
        method = self._scope["method"] if self._scope["method"] in METHODS else "OTHER"
        milliseconds = 1000 * (time.perf_counter() - self._began)
        LOGGER.info("%s %s %d %.0f ms", method, route_of(self._scope), self.status, milliseconds)


def route_of(scope: Scope) -> str:
    """The route as it was declared; "-" for what no route answers, such as files of the page and what is unknown."""
    return str(getattr(scope.get("route"), "path", "-"))


def log_failure(error: BaseException) -> None:
    """Tells where in the code something went wrong, and the error's kind, but not its message."""
    places = [f"{PurePath(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)]
    LOGGER.error("failed: %s at %s", type(error).__name__, " < ".join(reversed(places[-8:])))
