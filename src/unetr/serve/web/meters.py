"""What the server counts of its own work. Labels are routes, methods and statuses: nothing that a client chooses."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unetr.serve.safety.log import METHODS, route_of

# Seconds: from a health check to a large upload.
BUCKETS_S = (0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0)


@dataclass(slots=True)
class Histogram:
    """How many took at most how long. counts: of each of BUCKETS_S, and of what took longer."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0

    def note(self, seconds: float) -> None:
        """One more."""
        self.counts[sum(seconds > limit for limit in BUCKETS_S)] += 1
        self.total_s += seconds


@dataclass(slots=True)
class Meters:
    """Counts since the start. Used from the event loop alone.

    requests: (method, route, status). seconds: of each route. received_bytes, sent_bytes: of bodies. listeners: event
    streams that are open.
    """

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    seconds: dict[str, Histogram] = field(default_factory=dict)
    received_bytes: int = 0
    sent_bytes: int = 0
    listeners: int = 0

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """One more request that was answered."""
        self.requests[method, route, status] += 1
        self.seconds.setdefault(route, Histogram()).note(seconds)


def measured(app: ASGIApp, meters: Meters) -> ASGIApp:
    """The app, with its requests counted."""
    return _Measured(app, meters)


@dataclass(frozen=True, slots=True)
class _Measured:
    app: ASGIApp
    meters: Meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, meters = time.perf_counter(), 0, self.meters

        async def receiving() -> Message:
            message = await receive()
            meters.received_bytes += len(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            meters.sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receiving, sending)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "OTHER"
            meters.note(method, route_of(scope), status, time.perf_counter() - began)
