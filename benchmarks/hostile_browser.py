"""A page of another site, in a real Chromium, that tries to use a server of this machine in every way a page can."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

# A name that its owner points at this machine once the page has been loaded (DNS rebinding).
REBOUND = "rebound.example"
REBINDING = f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"

# Each attempt gives what it could read or see of the server; "" or "opaque" where that is nothing.
_SCRIPT = """
async (server) => {
  const json = {"Content-Type": "application/json"};
  const seen = async (sent) => { const got = await sent; return got.type === "opaque" ? "opaque" : await got.text(); };
  const loads = (tag, more) => new Promise((done) => {
    const made = Object.assign(document.createElement(tag), more);
    made.onload = () => done(tag === "iframe" ? frame(made) : "loaded");
    made.onerror = () => done("");
    document.body.append(made);
    setTimeout(() => done(""), 3000);
  });
  const frame = (made) => { try { return made.contentDocument ? "" : "opaque"; } catch { return "opaque"; } };
  const form = (path, type, target) => new Promise((done) => {
    const hole = Object.assign(document.createElement("iframe"), {name: target});
    const made = document.createElement("form");
    Object.assign(made, {method: "post", action: server + path, enctype: type, target});
    made.append(Object.assign(document.createElement("input"), {name: '{"scan":"', value: '"}'}));
    document.body.append(hole, made);
    hole.onload = () => done("opaque");
    made.submit();
    setTimeout(() => done(""), 2000);
  });
  const socket = (kind, url) => new Promise((done) => {
    const made = new kind(url);
    made.onopen = () => done("open");
    made.onmessage = (event) => done(event.data);
    made.onerror = () => { made.close(); done(""); };
    setTimeout(() => done(""), 3000);
  });
  const tries = {
    "fetch, GET": () => seen(fetch(server + "/api/jobs", {credentials: "include"})),
    "fetch, GET, no cors": () => seen(fetch(server + "/api/jobs", {mode: "no-cors", credentials: "include"})),
    "fetch, POST of text": () => seen(fetch(server + "/api/scans", {method: "POST", body: "x", mode: "no-cors"})),
    "fetch, POST of JSON": () => seen(fetch(server + "/api/jobs", {method: "POST", headers: json, body: "{}"})),
    "fetch, DELETE": () => seen(fetch(server + "/api/jobs/1", {method: "DELETE", credentials: "include"})),
    "fetch, own header": () => seen(fetch(server + "/api/jobs", {headers: {"X-CSRF-Token": "x"}})),
    "upload": () => { const all = new FormData(); all.append("files", new Blob(["x"]), "x.nii");
      return seen(fetch(server + "/api/scans", {method: "POST", body: all, mode: "no-cors"})); },
    "beacon": async () => { navigator.sendBeacon(server + "/api/scans", "x"); return ""; },
    "form, plain": () => form("/api/jobs", "text/plain", "a"),
    "form, multipart": () => form("/api/scans", "multipart/form-data", "b"),
    "form, log out": () => form("/logout", "application/x-www-form-urlencoded", "c"),
    "form, log in": () => form("/login", "application/x-www-form-urlencoded", "d"),
    "picture": () => loads("img", {src: server + "/api/jobs/1/results/preview"}),
    "icon": () => loads("img", {src: server + "/favicon.svg"}),
    "script": () => loads("script", {src: server + "/js/app.js"}),
    "module": () => loads("script", {src: server + "/js/app.js", type: "module"}),
    "style": () => loads("link", {href: server + "/style/base.css", rel: "stylesheet"}),
    "preload": () => loads("link", {href: server + "/js/app.js", rel: "preload", as: "script"}),
    "film": () => loads("video", {src: server + "/api/scans/1/view.nii"}),
    "object": () => loads("object", {data: server + "/"}),
    "frame of the page": () => loads("iframe", {src: server + "/"}),
    "frame of the API": () => loads("iframe", {src: server + "/api/jobs"}),
    "worker": async () => { try { new Worker(server + "/js/app.js"); return "started"; } catch { return ""; } },
    "web socket": () => socket(WebSocket, server.replace("http", "ws") + "/api/jobs"),
    "event source": () => socket(EventSource, server + "/api/events"),
  };
  const found = {};
  for (const [name, attempt] of Object.entries(tries)) {
    try { found[name] = String(await attempt()).slice(0, 200); } catch { found[name] = ""; }
  }
  return found;
}
"""


@contextmanager
def other_site() -> Iterator[int]:
    """The port of a server that has one empty page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Another site</title><body></body>")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def attempts(context: BrowserContext, page_address: str, server: str) -> dict[str, str]:
    """What a page at `page_address` could see of `server`, by attempt."""
    page = context.new_page()
    page.goto(page_address)
    found: dict[str, str] = page.evaluate(_SCRIPT, server.rstrip("/"))
    page.close()
    return found


def rebound(context: BrowserContext, server: str) -> int | None:
    """The status that the server answers with by a name of another's. The browser was started with REBINDING."""
    page = context.new_page()
    answer = page.goto(f"http://{REBOUND}:{server.rstrip('/').rpartition(':')[2]}/api/jobs")
    page.close()
    return answer.status if answer else None
