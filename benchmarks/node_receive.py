"""What a node's receiver holds: speed and memory, several senders at once, kills, the same study again, no loops.

    python -m benchmarks.node_receive [--kills 10] [--slices 300] [--folder FOLDER]

Needs dcmtk's storescu and, for the last row, Orthanc. Everything runs on this machine, on free ports.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from tests.io.dicom.dicom_maker import make_series, save
from tests.orthanc import Orthanc, dcmtk, running_orthanc
from tests.tiny import tiny_file

from unetr.model.file.model_file import write_model


class Node:
    """`unetr node` in a process of its own, on one port."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True)
        self.folder, self.queue, self.port = folder, folder / "queue", 0
        model = folder / "tiny.safetensors"
        write_model(model, tiny_file())
        rule = {"name": "all", "model": "tiny", "when": {"slices_at_most": 100}, "destinations": []}
        told: dict[str, Any] = {"models": [str(model)], "rules": [rule], "listen": {"port": 0}} | settings
        (folder / "node.yaml").write_text(json.dumps(told), encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None
        self.peak_mb = 0.0

    def start(self) -> None:
        command = [sys.executable, "-m", "unetr", "node", str(self.folder / "node.yaml"), "--folder", str(self.queue)]
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("ab") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)
        self.port = int(until(lambda: re.search(r"dicom://.*:(\d+)\n", (self.folder / "out").read_text()))[1])

    def kill(self) -> None:
        assert self.process is not None
        self.peak_mb = max(self.peak_mb, self.memory_mb())
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def memory_mb(self) -> float:
        """The most that the receiver's own process has held."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) / 1000 if found else float("nan")

    def sender(self, files: Sequence[Path]) -> list[str]:
        return [dcmtk("storescu"), "-R", "-v", "-aec", "UNETR", "127.0.0.1", str(self.port), *map(str, files)]

    def kept(self) -> dict[str, bytes]:
        """SOPInstanceUID -> pixels of the files that are there."""
        found = map(pydicom.dcmread, (self.queue / "arriving").glob("*/*.dcm"))
        return {str(one.SOPInstanceUID): one.PixelData for one in found}

    def jobs(self) -> int:
        with sqlite3.connect(self.queue / "jobs.sqlite3") as connection:
            return int(connection.execute("SELECT count(*) FROM jobs").fetchone()[0])

    def ended_jobs(self) -> int:
        with sqlite3.connect(self.queue / "jobs.sqlite3") as connection:
            states = "('written', 'delivered', 'failed')"
            return int(connection.execute(f"SELECT count(*) FROM jobs WHERE state IN {states}").fetchone()[0])


def until(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        if time.monotonic() > end:
            raise RuntimeError("it did not come in time")
        time.sleep(0.05)
    return value


def write(folder: Path, slices: int, side: int) -> list[Path]:
    """A CT series of noise, which no one can compress away."""
    voxels = np.random.default_rng(slices).integers(-1000, 1000, (side, side, slices)).astype(np.int16)
    files = []
    for number, dataset in enumerate(make_series(voxels, modality="CT", spacing_mm=(0.7, 0.7, 1.0))):
        files.append(folder / f"{number:04}.dcm")
        save(files[-1], dataset)
    return files


def speed(work: Path, slices: int) -> list[tuple[str, str, str]]:
    files = write(work / "large", slices, 512)
    node = Node(work / "speed")
    node.start()
    began = time.monotonic()
    subprocess.run(node.sender(files), check=True, capture_output=True)
    seconds, memory = time.monotonic() - began, node.memory_mb()
    kept = len(list((node.queue / "arriving").glob("*/*.dcm")))
    quarter = len(files) // 4
    parts = [write(work / f"part {number}", quarter, 512) for number in range(4)]
    began = time.monotonic()
    running = [
        subprocess.Popen(node.sender(part), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for part in parts
    ]
    codes = [one.wait() for one in running]
    four = time.monotonic() - began
    all_kept = len(list((node.queue / "arriving").glob("*/*.dcm"))) - kept
    peak = node.memory_mb()
    node.kill()
    return [
        (f"{slices} x 512², storescu", f"{seconds:.1f} s, {kept} kept", "≤ 10 s"),
        ("receiver's memory at the end of it", f"{memory:.0f} MB", "≤ 150 MB"),
        (f"4 associations of {quarter} at once", f"{four:.1f} s, {all_kept} kept, exit codes {codes}", "all kept"),
        ("receiver's memory, most", f"{peak:.0f} MB", "≤ 150 MB"),
    ]


def kills(work: Path, count: int) -> tuple[str, str, str]:
    """The receiver is killed at random while storescu sends; what it was told is kept must be there, and whole."""
    node, chance = Node(work / "kills"), random.Random(0)
    acknowledged: dict[str, bytes] = {}
    interrupted = 0
    for turn in range(count):
        files = write(work / f"kill {turn}", 80, 256)
        sent = {file: pydicom.dcmread(file) for file in files}
        node.start()
        sender = subprocess.Popen(node.sender(files), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        timer = threading.Timer(chance.uniform(0.1, 1.2), node.kill)
        timer.start()
        said = sender.communicate(timeout=60)[0]
        timer.join()
        current: Path | None = None
        for line in said.splitlines():
            if found := re.search(r"Sending file: (.*)$", line):
                current = Path(found[1])
            elif "Received Store Response (Success)" in line and current is not None:
                acknowledged[str(sent[current].SOPInstanceUID)] = sent[current].PixelData
        interrupted += said.count("Received Store Response (Success)") < len(files)
    kept = node.kept()
    lost = [uid for uid, pixels in acknowledged.items() if kept.get(uid) != pixels]
    told = f"{len(acknowledged)} acknowledged, {len(lost)} lost; {interrupted} of {count} kills while sending"
    return f"kill -9 of the receiver × {count}", told, "0 lost"


def again(work: Path) -> tuple[str, str, str]:
    files = write(work / "same", 30, 64)
    node = Node(work / "again", ready={"quiet_s": 1})
    node.start()
    for _ in range(10):
        subprocess.run(node.sender(files), check=True, capture_output=True)
        time.sleep(1.3)
    until(lambda: node.ended_jobs() >= 1)
    jobs = node.jobs()
    node.kill()
    return "the same study ten times", f"{jobs} job", "1 job"


def loops(work: Path) -> tuple[str, str, str]:
    with running_orthanc(work / "orthanc") as orthanc:
        return _loops(work, orthanc)


def _loops(work: Path, orthanc: Orthanc) -> tuple[str, str, str]:
    files = write(work / "loop", 20, 64)
    orthanc.store(files)
    rule = {"name": "all", "model": "tiny", "when": {}, "forms": ["dicom-seg", "rtstruct"], "destinations": "pacs"}
    node = Node(
        work / "loops",
        rules=[rule],
        ready={"quiet_s": 1},
        pull=[{"name": "orthanc", "orthanc": {"url": orthanc.url}, "every_s": 0.5, "sweep_s": 2}],
        deliver=[{"name": "pacs", "dicomweb": {"url": orthanc.dicom_web}}],
    )
    node.start()
    until(lambda: len(orthanc.get("/series")) == 3)
    orthanc.know("node", "UNETR", node.port)
    for _ in range(3):  # the PACS routes the whole study, results and all, back to the node
        orthanc.send("node", orthanc.get("/series"))
        time.sleep(3)
    jobs, results = node.jobs(), len(orthanc.get("/instances")) - len(files)
    node.kill()
    return "results routed back × 3, and pulled", f"{jobs} job, {results} results in Orthanc", "1 job, 2 results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="An empty folder; a temporary one by default.")
    given = parser.parse_args()
    work = given.folder or Path(tempfile.mkdtemp(prefix="node-receive-"))
    rows = [*speed(work, given.slices), kills(work, given.kills), again(work), loops(work)]
    if given.folder is None:
        shutil.rmtree(work)
    print("| what | found | figure |\n|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
