"""What goes wrong in node_delivery.py: each fault sends a study, brings something down and up again, and returns."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.node.delivery.fault_proxy import FaultProxy
from tests.node.delivery.running_node import RunningNode, Study, in_pacs, until
from tests.orthanc import Orthanc, dcmtk


@dataclass
class Trial:
    """One fault with one study. also: other studies that must be delivered."""

    node: RunningNode
    pacs: Orthanc
    proxy: FaultProxy
    study: Study
    away_s: float
    folder: Path
    also: list[Study] = field(default_factory=list)

    def sent(self) -> None:
        if not self.node.send(self.study.folder):
            raise RuntimeError("storescu failed")

    def fault(self, name: str) -> None:
        """Another fault of the proxy; what it held is let go."""
        self.proxy.fault = name
        for event in (self.proxy.posted, self.proxy.asked_back, self.proxy.released):
            event.clear()
        if not name:
            self.proxy.released.set()

    def restart(self) -> None:
        self.node.kill()
        self.fault("")
        self.node.start()

    def state(self, *states: str) -> None:
        until(self.node.in_state(self.study, *states), " or ".join(states))

    def recover(self) -> None:
        """After a trial that failed: what it brought down and did not bring up keeps no other trial back."""
        self.fault("")
        if not self.pacs.is_running:
            self.pacs.start()
        self.restart()

    def stop(self, child: str) -> int:
        pid = self.node.child(child)
        os.kill(pid, signal.SIGSTOP)
        return pid


def node_while_it_receives(trial: Trial) -> None:
    command = [dcmtk("storescu"), "-v", "-nh", "-aec", "UNETR", "127.0.0.1", str(trial.node.port)]
    files = [str(path) for path in sorted(trial.study.folder.iterdir())]
    sender = subprocess.Popen([*command, *files], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert sender.stdout is not None
    acknowledged, wanted = 0, random.randint(1, len(files) - 1)
    for line in sender.stdout:
        acknowledged += bool(re.search(r"Store Response \(Success\)", line))
        if acknowledged == wanted:
            trial.node.kill()
    sender.wait()
    kept = len(list((trial.node.queue / "arriving").rglob("*.dcm")))
    if kept < acknowledged:
        raise AssertionError(f"{acknowledged} instances were acknowledged, {kept} are kept")
    trial.node.start()
    trial.sent()  # as a scanner does with what failed


def node_received(trial: Trial) -> None:
    trial.sent()
    trial.restart()


def node_being_read(trial: Trial) -> None:
    trial.stop("reader")
    trial.sent()
    time.sleep(1.5)
    trial.restart()


def reader_being_read(trial: Trial) -> None:
    pid = trial.stop("reader")
    trial.sent()
    time.sleep(1.5)
    os.kill(pid, signal.SIGKILL)


def node_ready(trial: Trial) -> None:
    trial.stop("engine")
    first = Study(trial.folder / "first", random.randrange(1 << 30))
    trial.also.append(first)
    trial.node.send(first.folder)
    until(trial.node.in_state(first, "running"), "running")
    trial.sent()
    trial.state("ready")
    trial.restart()


def node_running(trial: Trial) -> None:
    trial.stop("engine")
    trial.sent()
    trial.state("running")
    trial.restart()


def engine_running(trial: Trial) -> None:
    pid = trial.stop("engine")
    trial.sent()
    trial.state("running")
    os.kill(pid, signal.SIGKILL)


def node_written(trial: Trial) -> None:
    trial.fault("drop")
    trial.sent()
    trial.state("written")
    trial.restart()


def node_sending(trial: Trial) -> None:
    trial.fault("hold answer")
    trial.sent()
    until(trial.proxy.posted.is_set, "posted")
    trial.restart()


def node_sent(trial: Trial) -> None:
    trial.fault("hold back")
    trial.sent()
    until(trial.proxy.asked_back.is_set, "asked back")
    trial.restart()


def node_at_any_moment(trial: Trial) -> None:
    trial.sent()
    time.sleep(random.uniform(0, 4))
    trial.restart()


def orthanc_sent(trial: Trial) -> None:
    trial.fault("hold back")
    trial.sent()
    until(trial.proxy.asked_back.is_set, "asked back")
    trial.pacs.kill()
    trial.fault("")
    trial.pacs.start()


def orthanc_written(trial: Trial) -> None:
    trial.pacs.kill()
    trial.sent()
    trial.state("written")
    time.sleep(random.uniform(0, 3))
    trial.pacs.start()


def proxied(fault: str, away: bool = False) -> Callable[[Trial], None]:
    """away: for as long as a PACS is away."""

    def run(trial: Trial) -> None:
        trial.fault(fault)
        trial.sent()
        trial.state("written", "delivered")
        time.sleep(trial.away_s if away else 5)
        trial.fault("")

    return run


def pacs_away(trial: Trial) -> None:
    trial.pacs.kill()
    trial.sent()
    trial.state("written")
    time.sleep(trial.away_s)
    trial.pacs.start()


def disk_full_receiving(trial: Trial) -> None:
    with filled(trial.node.queue):
        if trial.node.send(trial.study.folder):
            raise AssertionError("acknowledged on a full disk")
    trial.sent()


def disk_full_written(trial: Trial) -> None:
    trial.fault("drop")
    trial.sent()
    trial.state("written")
    with filled(trial.node.queue):
        trial.fault("")
        time.sleep(3)
        if len(in_pacs(trial.pacs, trial.study)) > 1:
            raise AssertionError("sent twice on a full disk")


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Not a byte is free until the context ends."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as handle:
        for size in (1 << 16, 1 << 12, 1 << 8, 1):
            try:
                while True:
                    handle.write(bytes(size))
            except OSError:
                continue
    try:
        yield
    finally:
        ballast.unlink()


FAULTS: dict[str, Callable[[Trial], None]] = {
    "kill node, while it receives": node_while_it_receives,
    "kill node, received": node_received,
    "kill node, being read": node_being_read,
    "kill reader, being read": reader_being_read,
    "kill node, ready": node_ready,
    "kill node, running": node_running,
    "kill engine, running": engine_running,
    "kill node, written": node_written,
    "kill node, PACS has it, no answer yet": node_sending,
    "kill node, sent, not read back": node_sent,
    "kill node, at any moment": node_at_any_moment,
    "kill Orthanc, sent, not read back": orthanc_sent,
    "kill Orthanc, written": orthanc_written,
    "503 for 5 s": proxied("busy"),
    "503 to storing for 5 s": proxied("post is busy"),
    "503 to asking back for 5 s": proxied("asking back is busy"),
    "connections dropped for 5 s": proxied("drop"),
    "answers lost for 5 s": proxied("lose answer"),
    "full disk, receiving": disk_full_receiving,
    "full disk, written": disk_full_written,
    "PACS away, killed": pacs_away,
    "PACS away, 503 to storing": proxied("post is busy", away=True),
    "PACS away, 503 to asking back": proxied("asking back is busy", away=True),
    "PACS away, no answer at all": proxied("hang", away=True),
}
