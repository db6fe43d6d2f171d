"""Kills `unetr serve` with SIGKILL in each state of a job, starts it again, and looks for what was acknowledged.

    python benchmarks/serve_kill.py [--kills 10] [--soak MINUTES]

Whatever was answered with success is there after the restart and comes to its end, once; what was not is gone without
a trace. With --soak, jobs are done for so long instead: how memory grows, and what is left after their time.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.server_process import Server, await_end, children, machine, running, scan_bytes

_LONG = (128, 128, 128)
_HOURS = 0.01


def while_receiving(server: Server, seed: int) -> dict[str, str]:
    """Half of an upload has come: nothing is acknowledged, so nothing may be left of it."""

    def pieces():  # type: ignore[no-untyped-def]
        yield scan_bytes(seed) * 50
        server.process.kill()
        yield b"more"

    with suppress(httpx.HTTPError):
        server.client.post("/api/scans", content=pieces())
    return {}


def after_upload(server: Server, seed: int) -> dict[str, str]:
    return {"scan": server.upload(scan_bytes(seed))}


def after_submit(server: Server, seed: int) -> dict[str, str]:
    scan = server.upload(scan_bytes(seed))
    return {"scan": scan, "job": server.submit(scan).json()["id"]}


def while_waiting(server: Server, seed: int) -> dict[str, str]:
    """Behind one that runs."""
    server.submit(server.upload(scan_bytes(seed + 10**6, _LONG)), tta=True)
    return after_submit(server, seed)


def while_running(server: Server, seed: int) -> dict[str, str]:
    scan = server.upload(scan_bytes(seed, _LONG))
    job = server.submit(scan).json()["id"]
    _await(lambda: server.client.get(f"/api/jobs/{job}").json()["progress"])
    return {"scan": scan, "job": job}


def after_written(server: Server, seed: int) -> dict[str, str]:
    told = after_submit(server, seed)
    _await(lambda: server.client.get(f"/api/jobs/{told['job']}").json()["state"] == "written")
    results = server.client.get(f"/api/jobs/{told['job']}").json()["results"]
    return told | {"sha256": next(one["sha256"] for one in results if one["form"] == "labels")}


def after_download(server: Server, seed: int) -> dict[str, str]:
    told = after_written(server, seed)
    labels = server.client.get(f"/api/jobs/{told['job']}/results/labels").content
    return told | {"sha256": hashlib.sha256(labels).hexdigest()}


def after_correction(server: Server, seed: int) -> dict[str, str]:
    told = after_written(server, seed)
    labels = server.client.get(f"/api/jobs/{told['job']}/results/labels").content
    number = server.client.post(f"/api/jobs/{told['job']}/corrections", content=labels).json()["number"]
    return told | {"correction": str(number)}


MOMENTS: dict[str, Callable[[Server, int], dict[str, str]]] = {
    "while receiving": while_receiving,
    "after an upload": after_upload,
    "after a job was asked for": after_submit,
    "while it waits": while_waiting,
    "while it runs": while_running,
    "once written": after_written,
    "once delivered": after_download,
    "once corrected": after_correction,
}


def kill_at(folder: Path, moment: str, seed: int) -> list[str]:
    """What was lost, in words."""
    with running(folder) as server:
        told = MOMENTS[moment](server, seed)
        others = children(server.process.pid)
        server.process.kill()
        server.process.wait()
    await_end(others)
    with running(folder) as server:
        return missing(server, folder, told)


def missing(server: Server, folder: Path, told: dict[str, str]) -> list[str]:
    client, lost = server.client, []
    if list((folder / "incoming").iterdir()):
        lost.append("something is left in incoming")
    if "scan" in told and client.get(f"/api/scans/{told['scan']}").status_code != 200:
        lost.append("the scan is gone")
    if "job" in told:
        ended = server.ended(told["job"])
        labels = client.get(f"/api/jobs/{told['job']}/results/labels")
        if ended["state"] not in ("written", "delivered") or labels.status_code != 200:
            lost.append(f"the job is {ended['state']}")
        elif told.get("sha256", found := hashlib.sha256(labels.content).hexdigest()) != found:
            lost.append("the labels have changed")
    if "correction" in told:
        answer = client.get(f"/api/jobs/{told['job']}/corrections/{told['correction']}/labels")
        if answer.status_code != 200:
            lost.append("the correction is gone")
    return lost


def _await(done: Callable[[], object], within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kills(count: int) -> int:
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        for moment in MOMENTS:
            began, lost = time.monotonic(), []
            for number in range(count):
                lost += kill_at(Path(work) / "queue", moment, hash((moment, number)) % 10**6)
            spent = time.monotonic() - began
            print(f"{moment:28} {count:3} kills, {len(lost)} lost {set(lost) or ''} ({spent:.0f} s)", flush=True)
            bad += len(lost)
    return bad


def soak(minutes: float) -> int:
    """Memory of each process over the jobs, and the files that are left once all have had their time."""
    taken: list[tuple[int, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "queue"
        with running(folder, "--retention-hours", str(_HOURS)) as server:
            end, done = time.monotonic() + 60 * minutes, 0
            while time.monotonic() < end:
                job = server.submit(server.upload(scan_bytes(done, (24, 24, 24)))).json()["id"]
                server.events(job)
                assert server.client.get(f"/api/jobs/{job}/results/labels").status_code == 200
                done += 1
                if done % 10 == 0:
                    taken.append((done, server.memory_mb()))
            print(f"{done} jobs in {minutes:g} minutes", flush=True)
            rooms = [folder / name for name in ("scans", "jobs", "incoming")]
            with suppress(AssertionError):
                _await(lambda: not any(list(room.iterdir()) for room in rooms), 3600 * _HOURS + 130)
            left = sum(1 for room in rooms for path in room.rglob("*") if path.is_file())
    bad = int(left > 0)
    for name in taken[-1][1]:
        # The first half is warming up.
        late = [(jobs, memory[name]) for jobs, memory in taken[len(taken) // 2 :]]
        grown = float(np.polyfit(*zip(*late, strict=True), 1)[0]) * 100 if len(late) > 2 else float("nan")
        print(f"{name:28} {late[-1][1]:8.1f} MB, {grown:+.2f} MB per 100 jobs", flush=True)
        bad += grown > 1
    print(f"{'files left after their time':28} {left:8}")
    return bad


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--soak", type=float)
    options = parser.parse_args()
    print(machine())
    return int((kills(options.kills) if options.soak is None else soak(options.soak)) > 0)


if __name__ == "__main__":
    sys.exit(main())
