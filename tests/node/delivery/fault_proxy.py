"""A web server between the outbox and a PACS, which passes on what comes, or fails in a way that is asked for."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class FaultProxy:
    """url: its own root. fault: "" passes; see `_Handler`. seen: the requests, as "POST 200"."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.fault = ""
        self.seen: list[str] = []
        self.posted = threading.Event()
        self.asked_back = threading.Event()
        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def fault_proxy(target: str) -> Iterator[FaultProxy]:
    """Runs until the context ends."""
    proxy = FaultProxy(target)
    thread = threading.Thread(target=proxy.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        proxy.server.shutdown()
        thread.join()
        proxy.server.server_close()


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """busy: 503 with Retry-After. drop: closes without a word. lose answer: the PACS gets what is posted, and its
        answer is lost. hold answer: the same, and the connection stays open. hold back: asking for what was sent is
        not answered."""

        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            self._go()

        def do_POST(self) -> None:
            self._go()

        def _go(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            is_post = self.command == "POST"
            if proxy.fault == "drop":
                self._end("dropped")
            elif proxy.fault == "busy":
                proxy.seen.append(f"{self.command} 503")
                self.send_response(503)
                self.send_header("Retry-After", "1")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif proxy.fault == "hold back" and not is_post and "/instances/" in self.path:
                proxy.asked_back.set()
                proxy.released.wait(60)
                self._end("held")
            else:
                self._pass(body, is_post)

        def _pass(self, body: bytes, is_post: bool) -> None:
            try:
                upstream = http.client.HTTPConnection(proxy.target, timeout=30)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                upstream.request(self.command, self.path, body or None, headers)
                answer = upstream.getresponse()
                told = answer.read()
                upstream.close()
            except (OSError, http.client.HTTPException):
                self._end("away")
                return
            if is_post:
                proxy.posted.set()
                if proxy.fault == "hold answer":
                    proxy.released.wait(60)
                if proxy.fault in ("lose answer", "hold answer"):
                    self._end("lost")
                    return
            proxy.seen.append(f"{self.command} {answer.status}")
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "keep-alive"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def _end(self, how: str) -> None:
            proxy.seen.append(f"{self.command} {how}")
            self.close_connection = True

    return Handler
