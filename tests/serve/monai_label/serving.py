"""A real server over a queue, in a thread of the tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unetr.queue.service import Service
from unetr.serve.options import ServeOptions
from unetr.serve.run import listen, server_for


@contextmanager
def serving(service: Service, **options: Any) -> Iterator[str]:
    """The address of a server, while the context lasts. options: of ServeOptions."""
    chosen = ServeOptions(port=0, **options)
    at, started = listen(chosen), threading.Event()
    server = server_for(service, chosen, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
    thread.start()
    try:
        if not started.wait(20):
            raise RuntimeError("the server did not start")
        yield f"http://127.0.0.1:{at.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        at.close()
