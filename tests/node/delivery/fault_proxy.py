"""A web server between the outbox and a PACS, which passes on what comes, or fails in a way that is asked for."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class FaultProxy(ThreadingHTTPServer):
    """url: its own root. seen: the requests and what became of them, as "POST 200"; a POST of no objects is a "look".

    fault: "" passes. "busy": 503 with Retry-After. "post is busy", "asking back is busy": 503 to that alone.
    "refuse": 401. "drop": closes without a word. "hang": nothing is answered. "lose answer": the PACS gets what is
    posted, and its answer is lost; "hold answer": the same, and the connection stays open. "hold back": asking for what
    was sent is not answered. asked_by: what requests had as Authorization. posted, asked_back: set when that has
    happened; released ends the holding.
    """

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.fault = ""
        self.seen: list[str] = []
        self.asked_by: set[str | None] = set()
        self.posted, self.asked_back, self.released = threading.Event(), threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """A killed client is what the tests are about."""


@contextmanager
def fault_proxy(target: str) -> Iterator[FaultProxy]:
    """Runs until the context ends."""
    proxy = FaultProxy(target)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        proxy.shutdown()
        thread.join()
        proxy.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._go(b"")

    def do_POST(self) -> None:
        self._go(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _go(self, body: bytes) -> None:
        proxy, is_post = self.server, self.command == "POST"
        self._name = "look" if is_post and b"DICM" not in body else self.command
        proxy.asked_by.add(self.headers.get("Authorization"))
        if proxy.fault == "drop":
            self._end("dropped")
        elif proxy.fault == "hang":
            self._end("hangs")
            proxy.released.wait(60)
        elif proxy.fault == "busy":
            self._answer(503, [("Retry-After", "1")], b"")
        elif proxy.fault == ("post is busy" if is_post else "asking back is busy"):
            self._answer(503, [], b"")
        elif proxy.fault == "refuse":
            self._answer(401, [("WWW-Authenticate", "Basic")], b"")
        elif proxy.fault == "hold back" and not is_post and "/instances/" in self.path:
            proxy.asked_back.set()
            proxy.released.wait(60)
            self._end("held")
        else:
            self._pass(body, is_post)

    def _pass(self, body: bytes, is_post: bool) -> None:
        proxy = self.server
        try:
            upstream = http.client.HTTPConnection(proxy.target, timeout=30)
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
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
        self._answer(answer.status, answer.getheaders(), told)

    def _answer(self, status: int, headers: list[tuple[str, str]], told: bytes) -> None:
        self.server.seen.append(f"{self._name} {status}")
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "keep-alive"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def _end(self, how: str) -> None:
        self.server.seen.append(f"{self._name} {how}")
        self.close_connection = True
