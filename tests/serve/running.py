"""A server that answers at a free port of the loopback while a test runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from unetr.serve.options import ServeOptions
from unetr.serve.run import address_of, listen, server_for
from unetr.serve.service import Service


@contextmanager
def running(service: Service, **options: object) -> Iterator[httpx.Client]:
    """A client of a server over this service. options: of ServeOptions."""
    told = ServeOptions(port=0, **options)  # type: ignore[arg-type]
    at = listen(told)
    address = address_of(told, at)
    started = threading.Event()
    server = server_for(service, told, started.set)
    thread = threading.Thread(target=server.run, args=([at],))
    thread.start()
    try:
        assert started.wait(20)
        with httpx.Client(base_url=address, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
