"""`unetr serve` under load: a real server process, asked over the loopback. Prints a table; ends with 1 for a miss.

    python benchmarks/serve.py [warm] [upload] [clients] [--megabytes 1000] [--clients 50] [--jobs 200]

warm: a request from upload to labels, over the network's own time. upload: a large file, and one beyond the limit.
clients: many at once against a queue of 32; none of their jobs may be lost or done twice.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.server_process import Server, machine, nifti, running, scan_bytes

import unetr

_QUEUE = 32
_misses: list[str] = []


def row(what: str, found: str, ok: bool) -> None:
    print(f"{what:58} {found:>34} {'' if ok else '<-- missed'}", flush=True)
    if not ok:
        _misses.append(what)


def warm(work: Path, _options: argparse.Namespace) -> None:
    segmenter, spent = unetr.load("hippocampus"), [0.0]
    engine = segmenter.engine

    def timed(*arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return engine(*arguments)
        finally:
            spent[0] += time.perf_counter() - began

    segmenter = replace(segmenter, engine=timed)
    own, whole, asked = [], [], []
    with running(work / "warm") as server:
        for number in range(13):
            content = scan_bytes(number)
            path = work / "scan.nii.gz"
            path.write_bytes(content)
            began = time.perf_counter()
            job = server.submit(server.upload(content)).json()["id"]
            server.events(job)
            labels = server.client.get(f"/api/jobs/{job}/results/labels").content
            asked.append(time.perf_counter() - began)
            spent[0], began = 0.0, time.perf_counter()
            segmenter.predict(path)
            whole.append(time.perf_counter() - began)
            own.append(spent[0])
            assert labels
    over = [a - b for a, b in zip(asked[3:], own[3:], strict=True)]
    row("warm request, hippocampus crop (median of 10)", f"{statistics.median(asked[3:]):.3f} s", True)
    row("  the same from Python", f"{statistics.median(whole[3:]):.3f} s", True)
    row("  over the network's own time", f"{statistics.median(over):.3f} s", statistics.median(over) <= 0.3)


def upload(work: Path, options: argparse.Namespace) -> None:
    voxels = options.megabytes * 10**6 // 2
    head = nifti(np.zeros((1000, 1000, 1), np.int16))[:352]

    def pieces(size: int) -> Iterator[bytes]:
        yield head
        block = np.random.default_rng(0).bytes(1 << 20)
        for _ in range(size >> 20):
            yield block

    with running(work / "upload") as server:
        server.upload(scan_bytes(0))
        server.forget_peak()
        before = server.memory_mb()["web"]
        began = time.perf_counter()
        answer = server.client.post("/api/scans", content=pieces(2 * voxels), timeout=600)
        seconds = time.perf_counter() - began
        grown = server.memory_mb("VmHWM")["web"] - before
        row(f"upload of {options.megabytes} MB", f"{seconds:.1f} s, +{grown:.1f} MB", grown <= 50)
        assert answer.status_code == 201, answer.text
    for told in (True, False):
        limit(work, told, pieces)


def limit(work: Path, told: bool, pieces: Callable[[int], Iterator[bytes]]) -> None:
    with running(work / "limit", "--max-upload", "100MB") as server:
        incoming, most, over = work / "limit" / "incoming", 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not over.wait(0.002):
                sizes = [_size(path) for path in incoming.rglob("*")]
                most = max(most, sum(sizes))

        watcher = threading.Thread(target=watch)
        watcher.start()
        content: Any = b"".join(pieces(150_000_000)) if told else pieces(150_000_000)
        answer = server.client.post("/api/scans", content=content)
        over.set()
        watcher.join()
        ok = answer.status_code == 413 and most < 101e6 and not list(incoming.iterdir())
        what = "length told" if told else "in pieces"
        row(f"150 MB at a limit of 100 MB, {what}", f"{answer.status_code}, {most / 1e6:.1f} MB on disk", ok)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def clients(work: Path, options: argparse.Namespace) -> None:
    share = options.jobs // options.clients
    statuses: Counter[int] = Counter()
    with running(work / "clients", "--most-waiting", str(_QUEUE)) as server:
        server.ended(server.submit(server.upload(scan_bytes(10**6))).json()["id"])
        over, health = threading.Event(), []

        def watch() -> None:
            with httpx.Client(base_url=server.client.base_url, timeout=30) as own:
                while not over.wait(0.02):
                    began = time.perf_counter()
                    assert own.get("/healthz").status_code == 200
                    health.append(time.perf_counter() - began)

        def client(number: int) -> list[str]:
            with httpx.Client(base_url=server.client.base_url, timeout=120) as own:
                mine = Server(server.process, own)
                return [_one_job(mine, number * share + each, statuses) for each in range(share)]

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.perf_counter()
        with ThreadPoolExecutor(options.clients) as pool:
            jobs = [job for found in pool.map(client, range(options.clients)) for job in found]
        seconds = time.perf_counter() - began
        over.set()
        watcher.join()
        told = [server.client.get(f"/api/jobs/{job}").json() for job in jobs]
    written = sum(one["state"] == "delivered" for one in told)
    twice = sum(one["attempts"] != 1 for one in told) + len(jobs) - len(set(jobs))
    row(f"{options.clients} clients, {len(jobs)} jobs, queue of {_QUEUE}", f"{seconds:.0f} s", True)
    row("  jobs lost / done twice", f"{len(jobs) - written} / {twice}", written == len(jobs) and twice == 0)
    refusals = {status: count for status, count in statuses.items() if status >= 400}
    row("  refusals", str(refusals or "none"), set(refusals) <= {429})
    p99 = float(np.percentile(health, 99)) * 1000
    row(f"  /healthz, p99 of {len(health)}", f"{p99:.0f} ms", p99 <= 200)


def _one_job(server: Server, seed: int, statuses: Counter[int]) -> str:
    """Asks until there is room, waits for the end and takes the labels, as clients do."""
    scan = server.upload(scan_bytes(seed, (24, 24, 24)))
    while True:
        answer = server.submit(scan)
        statuses[answer.status_code] += 1
        if answer.status_code != 429:
            break
        time.sleep(0.5)
    job = str(answer.json()["id"])
    assert "event: end" in server.events(job)
    labels = server.client.get(f"/api/jobs/{job}/results/labels")
    assert labels.status_code == 200
    return job


PARTS = {"warm": warm, "upload": upload, "clients": clients}


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(PARTS)}")
    return name


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", type=_part, help=f"of {', '.join(PARTS)}; all without any")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=200)
    options = parser.parse_args()
    print(machine())
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](Path(folder), options)
    return int(bool(_misses))


if __name__ == "__main__":
    sys.exit(main())
