"""Connections that take their time: how many there may be, how long they may take, and which one goes first.

uvicorn waits for ever for a request's head and for its body. Here, a head has to come within HEAD_S, a body at
LEAST_RATE, and an answer has to be taken at all within STUCK_S. Where as many connections are open as may be, a new one
takes the place of the oldest that has asked for nothing yet, so that those who only hold connections open keep nobody
out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Protocol

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from unetr.core.machine.system import has_unread

# Seconds from the connection, or the end of the last answer, to the end of a request's head.
HEAD_S = 20.0
# Bytes a second of a request's body, over so many seconds.
LEAST_RATE = 1024
BODY_S = 10.0
# Seconds after which an answer counts as not taken, if nothing of it was.
STUCK_S = 60.0
_SWEEP_S = 1.0
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 21\r\n"
    b"Content-Type: text/plain\r\n\r\nToo many connections\n"
)


class Guest(Protocol):
    """A connection. address: of the client."""

    address: str

    def is_waiting(self, now: float) -> bool:
        """Whether it keeps nobody waiting to cut it: nothing was asked, or a body does not come."""

    def is_overdue(self, now: float) -> bool:
        """Whether it has taken longer than it may. Asked every second or so."""

    def cut(self) -> None:
        """Ends it at once."""


@dataclass(slots=True)
class Gate:
    """The open connections of one server. most: in all. most_each: of one address. Used from the event loop alone."""

    most: int
    most_each: int
    _guests: dict[str, dict[Guest, None]] = field(default_factory=dict)
    _count: int = 0
    _sweeping: bool = False

    def admit(self, guest: Guest) -> bool:
        """Whether there is room for one more, after another was cut for it where that was needed."""
        theirs = self._guests.setdefault(guest.address, {})
        if len(theirs) >= self.most_each:
            full: dict[Guest, None] | None = theirs
        elif self._count >= self.most:
            full = max(self._guests.values(), key=len)
        else:
            full = None
        if full is not None and not self._make_room(full):
            if not theirs:
                del self._guests[guest.address]
            return False
        self._guests.setdefault(guest.address, {})[guest] = None
        self._count += 1
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)
        return True

    def leave(self, guest: Guest) -> None:
        """It has ended, whoever ended it."""
        theirs = self._guests.get(guest.address, {})
        if guest in theirs:
            del theirs[guest]
            self._count -= 1
            if not theirs:
                del self._guests[guest.address]

    def _make_room(self, among: dict[Guest, None]) -> bool:
        now = asyncio.get_running_loop().time()
        for guest in among:  # the oldest first
            if guest.is_waiting(now):
                self.leave(guest)
                guest.cut()
                return True
        return False

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        every = [guest for theirs in self._guests.values() for guest in theirs]
        for guest in every:
            if guest.is_overdue(now):
                self.leave(guest)
                guest.cut()
        self._sweeping = bool(every)
        if every:
            loop.call_later(_SWEEP_S, self._sweep)


class SteadyProtocol(H11Protocol):
    """uvicorn's protocol, with limits for clients that are slow on purpose."""

    def __init__(
        self,
        gate: Gate,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.address = ""
        self._gate = gate
        self._phase = "head"
        self._since = self.loop.time()
        self._came = 0
        self._unsent = 0
        self._is_ours = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Lets it in, or says that there is no room."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        if not self._gate.admit(self):
            transport.write(_FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Makes room."""
        self._gate.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what comes."""
        if self.transport.is_closing():
            return
        self._came += len(data)
        super().data_received(data)

    def is_waiting(self, now: float) -> bool:
        """Nothing was asked, or a body does not come at the least rate."""
        self._look(now)
        if self._phase == "head":
            return not self._has_unread()
        due = max(1.0, now - self._since) * LEAST_RATE
        return self._phase == "body" and not self._is_ours and self._came < due

    def is_overdue(self, now: float) -> bool:
        """A head that is not complete, a body that is too slow, an answer that is not taken."""
        self._look(now)
        age = now - self._since
        if self._phase == "head":
            return age > HEAD_S
        if self._phase == "answer":
            return age > STUCK_S
        if age < BODY_S:
            return False
        slow = self._came < age * LEAST_RATE
        self._since, self._came = now, 0
        return slow

    def cut(self) -> None:
        """Ends the connection without a word."""
        self.transport.abort()

    def _has_unread(self) -> bool:
        """Whether more of the request has come already, and only this process has not read it yet."""
        return has_unread(self.transport.get_extra_info("socket").fileno())

    def _look(self, now: float) -> None:
        """Notes what the connection waits for, and since when. What waits for this server is no fault of the client."""
        unsent = self.transport.get_write_buffer_size()
        if self.cycle is None or self.cycle.response_complete:
            phase, self._is_ours = "head", unsent > 0 and unsent != self._unsent
        elif self.cycle.more_body and not self.cycle.response_started:
            phase, self._is_ours = "body", self.flow.read_paused or self.cycle.waiting_for_100_continue
        else:
            phase, self._is_ours = "answer", unsent == 0 or unsent != self._unsent
        self._unsent = unsent
        if self._is_ours or phase != self._phase:
            # What of a body came before anybody looked counts for it.
            self._came = self._came if (self._phase, phase) == ("head", "body") else 0
            self._phase, self._since = phase, now
