"""`unetr serve` against those who mean it ill: what is refused, and whether it still answers.

    uv run python benchmarks/hostile_server.py [--connections 10000] [--hold 30]

A real server on the loopback, in a process of its own: 42 kinds of hostile archives, names that lead elsewhere, foreign
hosts, a real Chromium with a page of another site, slow connections by the thousand while /healthz is asked, and at
last everything without a token. Exit code 1 where anything was not refused, or the server does not answer at the end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.hostile_browser import REBINDING, attempts, other_site, rebound
from benchmarks.hostile_zips import KINDS, sound, written
from benchmarks.slow_connections import Seen, Slow, asking, seen
from tests.io.dicom import dicom_maker
from tests.serve.chromium import running_chromium

from unetr.serve.safety.server import AT_ONCE, MOST_CONNECTIONS, OWN_FILES

NAMES = (
    b'filename="../../../etc/cron.d/x"', b'filename="/etc/passwd"', b'filename="C:\\Windows\\x"', b'filename="a\0.nii"',
    b"filename*=UTF-8''..%2f..%2fx%0d%0aSet-Cookie:%20a=b", b'filename="' + b"a" * 5000 + b'"', b'filename="CON"',
)  # fmt: skip
PATHS = (
    "/../jobs.sqlite3",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc/passwd",
    "//etc/passwd",
    "/js/",
    "/js/..%5c..",
)
# Seconds in which the server has taken or ended all that came.
_TAKEN_S = 5.0
HOSTS = ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.7", "[::2]", "a@localhost", "")


@dataclass
class Server:
    """A running `unetr serve`."""

    port: int
    pid: int
    folder: Path

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, float]:
        """Status (0 where there was no answer), body, and seconds."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body or None, {name.replace("_", "-"): at for name, at in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read(), time.perf_counter() - began
        except (OSError, http.client.HTTPException):
            return 0, b"", time.perf_counter() - began
        finally:
            connection.close()

    def facts(self, content: bytes) -> tuple[int, str]:
        """What the server says of a scan: status, and the words of a refusal."""
        code, body, _ = self.ask("POST", "/api/scans", content, Content_Type="application/octet-stream")
        if code < 300:
            code, body, _ = self.ask("GET", f"/api/scans/{json.loads(body)['id']}")
        return code, json.loads(body)["error"]["message"] if code >= 400 else ""

    def memory_mb(self) -> float:
        """Of the server's own process."""
        return int(re.findall(r"VmRSS:\s+([0-9]+)", Path(f"/proc/{self.pid}/status").read_text())[0]) / 1000

    def children_peak_mb(self) -> float:
        """The most memory that one of its children has had."""
        peaks = [0.0]
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
            except OSError:
                continue
            if f"\nPPid:\t{self.pid}\n" in text and (peak := re.findall(r"VmHWM:\s+([0-9]+)", text)):
                peaks.append(int(peak[0]) / 1000)
        return max(peaks)


@dataclass
class Table:
    """What was tried, how often, and how often that was refused, or answered where it should be."""

    rows: list[tuple[str, int, int, str]] = field(default_factory=list)

    def add(self, what: str, refused: list[bool], note: str = "") -> None:
        self.rows.append((what, len(refused), sum(refused), note))
        print(f"| {what} | {len(refused)} | {sum(refused)} | {note} |", flush=True)

    @property
    def sound(self) -> bool:
        return all(tried == refused for _, tried, refused, _ in self.rows)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    command = [sys.executable, "-P", "-m", "unetr", "serve", "--model", "hippocampus", "--port", "0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--folder", str(folder / "queue")], stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert process.stdout is not None
            address = next(line for line in process.stdout if line.startswith("http"))
            yield Server(int(re.findall(r":([0-9]+)/", address)[0]), process.pid, folder / "queue")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def archives(server: Server, table: Table, slices: dict[str, bytes]) -> None:
    assert server.facts(written(sound(slices)))[0] == 200
    before, refused, silent = server.memory_mb(), [], 0
    for kind, make in KINDS.items():
        code, words = server.facts(make(slices))
        refused.append(code == 422 and len(words) > 10)
        silent += server.ask("GET", "/healthz")[0] != 200
        if not refused[-1]:
            print(f"not refused: {kind}: {code} {words}", flush=True)
    grown = server.memory_mb() - before
    note = f"server +{grown:.0f} MB, its reader at most {server.children_peak_mb():.0f} MB; {silent} times no answer"
    table.add("zip bombs and hostile archives", refused, note)


def names(server: Server, table: Table, slices: dict[str, bytes]) -> None:
    ours = re.compile(
        r"[0-9a-f]{32}|[0-9]{5}\.dcm|scan\.zip|jobs\.sqlite3.*|audit\.jsonl|\.unetr-lock|scans|jobs|incoming|source"
    )
    harmless = []
    for name in NAMES:
        head = b'--b\r\nContent-Disposition: form-data; name="files"; ' + name + b"\r\n\r\n"
        body = head + written(sound(slices)) + b"\r\n--b--\r\n"
        code = server.ask("POST", "/api/scans", body, Content_Type="multipart/form-data; boundary=b")[0]
        found = [path.name for path in server.folder.rglob("*") if not ours.fullmatch(path.name)]
        harmless.append(code in (201, 400, 422) and found == [])
    table.add("names of files that lead elsewhere (never used)", harmless)
    table.add("addresses with `../`", [server.ask("GET", path)[0] in (400, 404, 422) for path in PATHS])


def hosts(server: Server, table: Table) -> None:
    table.add("foreign Host", [server.ask("GET", "/api/jobs", Host=host)[0] in (400, 421) for host in HOSTS])
    origins = ("https://evil.example", "null", "http://localhost", f"http://localhost:{server.port + 1}")
    refused = [server.ask("POST", "/api/jobs", b"{}", Origin=origin)[0] == 403 for origin in origins]
    table.add("POST with another Origin", refused)


def browser(server: Server, table: Table) -> None:
    address = f"http://127.0.0.1:{server.port}"
    with running_chromium(REBINDING) as chromium, other_site() as port:
        for host in ("localhost", "127.0.0.1"):
            found = attempts(chromium.new_context(), f"http://{host}:{port}/", address)
            table.add(f"Chromium, a page at {host}:OTHER", [seen in ("", "opaque") for seen in found.values()])
        table.add("Chromium, DNS rebinding", [rebound(chromium.new_context(), address) == 421])
    jobs = json.loads(server.ask("GET", "/api/jobs")[1])["jobs"]
    table.add("jobs that a page of another site has made", [True] * (not jobs) or [False] * len(jobs))


def slow(server: Server, table: Table, connections: int, hold_s: float) -> None:
    held: list[Seen] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            held.append(seen(server.port, server.pid))
            time.sleep(0.1)

    before = server.memory_mb()
    looking = threading.Thread(target=look)
    looking.start()
    with asking(server.port) as asked, Slow(server.port, connections) as holding:
        opened_s = holding.open()
        holding.dribble(1)
        believed = holding.alive()
        end = time.monotonic() + _TAKEN_S
        while (now := seen(server.port, server.pid)).queued and time.monotonic() < end:
            time.sleep(0.05)
        known = holding.alive()
        holding.dribble(hold_s)
        grown, left = server.memory_mb() - before, holding.alive()
        ended.set()
        looking.join()
    most, queued = max(each.taken for each in held), max(each.queued for each in held)
    slowest = sorted(asked, key=lambda each: each.seconds)
    middle, p99, last = (slowest[int(share * (len(asked) - 1))] for share in (0.5, 0.99, 1))
    note = (
        f"all opened in {opened_s:.1f} s; the server held at most {most}, the system's queue {queued}; "
        f"{believed} clients believed they were connected, {known} once the queue was taken; {left} after "
        f"{hold_s:.0f} s; server +{grown:.0f} MB; /healthz median {1000 * middle.seconds:.0f} ms, "
        f"p99 {1000 * p99.seconds:.0f} ms, longest {1000 * last.seconds:.0f} ms, of which the system took "
        f"{1000 * last.connect_s:.0f} ms to connect"
    )
    # A connection is counted some turns of the loop after it was taken, 32 a turn, so that the server has more than its
    # limit for a moment, but no more than the limit of open files has room for. What waits in the system's queue is
    # none of its connections, and is taken within seconds; then nobody believes to be connected who is not.
    within = most <= MOST_CONNECTIONS + AT_ONCE + OWN_FILES and now.queued == 0 and known <= MOST_CONNECTIONS
    table.add(f"{connections} slow connections", [within and left == 0], note)
    counts = Counter(each.status for each in asked)
    others = ", ".join(f"{number} times {code}" for code, number in counts.items() if code != 200)
    table.add("/healthz meanwhile answered", [each.status == 200 for each in asked], others)


def no_token(server: Server, table: Table) -> None:
    command = [sys.executable, "-P", "-m", "unetr", "serve", "--folder", str(server.folder), "--new-token", "ward"]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    token = told.stdout.split()[-1]
    known = [server.ask("GET", "/api/jobs", Authorization=f"Bearer {token}")[0] == 200]
    paths = (
        "/",
        "/api/jobs",
        "/api/models",
        "/metrics",
        "/openapi.json",
        "/js/app.js",
        "/info/",
        f"/api/jobs?token={token}",
    )
    refused = [server.ask("GET", path)[0] == 401 for path in paths]
    refused += [server.ask("POST", path, b"x")[0] == 401 for path in ("/api/scans", "/api/jobs", "/infer/hippocampus")]
    refused += [
        server.ask("GET", "/api/jobs", Authorization=f"Bearer {wrong}")[0] in (401, 429) for wrong in "abcdefgh"
    ]
    table.add("no token, or a wrong one", refused)
    known.append(server.ask("GET", "/api/jobs", Authorization=f"Bearer {token}")[0] == 200)
    table.add("the right token is let in, before and after wrong ones", known)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--hold", type=float, default=30.0)
    arguments = parser.parse_args()
    table = Table()
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
        dicom_maker.write_series(Path(name) / "series", np.arange(8 * 7 * 4, dtype=np.int16).reshape(8, 7, 4))
        slices = {path.name: path.read_bytes() for path in sorted((Path(name) / "series").iterdir())}
        print("| what | tried | as it should be | |\n|---|---|---|---|", flush=True)
        hosts(server, table)
        browser(server, table)
        names(server, table, slices)
        archives(server, table, slices)
        slow(server, table, arguments.connections, arguments.hold)
        no_token(server, table)
        alive = server.ask("GET", "/healthz")[0] == 200
    verdict = "all refused" if table.sound else "not all refused"
    print(f"\n{verdict}, server {'alive' if alive else 'gone'}")
    sys.exit(0 if table.sound and alive else 1)


if __name__ == "__main__":
    main()
