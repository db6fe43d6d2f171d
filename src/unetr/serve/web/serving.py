"""What every route needs of the server that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from unetr.queue.service import Service
from unetr.serve.options import ServeOptions
from unetr.serve.web.meters import Meters
from unetr.serve.web.threads import Threads, Waits


@dataclass(frozen=True, slots=True)
class Serving:
    """What every route needs of the server that it belongs to."""

    service: Service
    options: ServeOptions
    waits: Waits
    threads: Threads = field(default_factory=Threads)
    meters: Meters = field(default_factory=Meters)


def serving_of(request: Request) -> Serving:
    """Of the app that answers this request."""
    serving: Serving = request.app.state.serving
    return serving


def actor_of(request: Request) -> str:
    """Who asks, for the audit log: the name of a token."""
    return str(getattr(request.state, "actor", ""))


Here = Annotated[Serving, Depends(serving_of)]
