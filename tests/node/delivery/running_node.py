"""`unetr node` as a process of its own, which can be killed and started again; studies, and what became of them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from tests.io.dicom import dicom_maker
from tests.orthanc import Orthanc, dcmtk, free_port

SCAN = Path(str(files("unetr.jobs.demo") / "scan" / "scan.nii.gz"))
SETTINGS = """
models: [hippocampus]
listen: {{port: {port}}}
limits: {{keep_free_mb: 0}}
ready: {{quiet_s: 0.3, cut_off_s: 1}}
rules: [{{name: heads, model: hippocampus, when: {{modality: MR}}, destinations: [pacs], forms: [{forms}]}}]
deliver: [{{name: pacs, dicomweb: {{url: "{url}"}}, timeout_s: 20}}]
"""


class RunningNode:
    """A node in `folder` that sends to the DICOMweb at url."""

    def __init__(self, folder: Path, url: str, forms: Sequence[str] = ("dicom-seg",)) -> None:
        self.queue = folder / "unetr-node"
        self.port = free_port()
        self.settings = folder / "node.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self.settings.write_text(SETTINGS.format(port=self.port, url=url, forms=", ".join(forms)))
        self._log = folder / "node.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._studies: dict[str, str] = {}  # scan -> StudyInstanceUID

    def start(self) -> None:
        """Returns when it listens."""
        command = [sys.executable, "-P", "-m", "unetr", "node", str(self.settings)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith(b"dicom://"):
            raise RuntimeError(self._log.read_text()[-2000:])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def child_pids(self) -> list[int]:
        """Process ids of its engine and its reader."""
        own = Path(f"/proc/{self.pid}/task")
        return [int(pid) for task in own.iterdir() for pid in (task / "children").read_text().split()]

    def child(self, which: str) -> int:
        """The process id of its "engine", which is warm and so has OpenVINO in its memory, or its "reader"."""
        engines = [pid for pid in self.child_pids() if "openvino" in Path(f"/proc/{pid}/maps").read_text()]
        return next(pid for pid in self.child_pids() if (pid in engines) == (which == "engine"))

    def kill(self) -> None:
        """SIGKILL to the node, if it runs, and to children that a test has stopped; the others end by themselves."""
        if self._process is None or self._process.poll() is not None:
            return
        stopped = self.child_pids()
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait()
        for pid in stopped:
            with suppress(ProcessLookupError):
                if Path(f"/proc/{pid}/stat").read_text().split()[2] == "T":
                    os.kill(pid, signal.SIGKILL)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What the node's database holds."""
        with closing(sqlite3.connect(self.queue / "jobs.sqlite3", timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def send(self, folder: Path) -> bool:
        """Sends a study by dcmtk's storescu; whether all of it was acknowledged."""
        command = [dcmtk("storescu"), "-v", "-nh", "-aec", "UNETR", "127.0.0.1", str(self.port)]
        found = sorted(str(path) for path in folder.iterdir())
        done = subprocess.run([*command, *found], capture_output=True, text=True, timeout=60, check=False)
        # Its exit code is that of a success, too, where a store was refused.
        return (done.stdout + done.stderr).count("Store Response (Success)") == len(found)

    def job_of(self, study: Study) -> dict[str, Any] | None:
        """The newest job of a study, by the files of its scan."""
        for row in self.rows("SELECT * FROM jobs ORDER BY created_s DESC LIMIT 10"):
            if row["scan"] not in self._studies:  # to look again costs a core that the node needs
                source = self.queue / "scans" / row["scan"] / "source"
                first = next(iter(sorted(source.glob("*.dcm"))), None)
                if first is not None:
                    self._studies[row["scan"]] = str(pydicom.dcmread(first, stop_before_pixels=True).StudyInstanceUID)
            if self._studies.get(row["scan"]) == study.uid:
                return row
        return None

    def in_state(self, study: Study, *states: str) -> Callable[[], bool]:
        """Whether the study's job is in one of these states."""

        def is_so() -> bool:
            job = self.job_of(study)
            return job is not None and job["state"] in states

        return is_so


class Study:
    """One study: the scan of the demonstration with a noise of its own, as a series in `folder`."""

    def __init__(self, folder: Path, seed: int) -> None:
        image = nibabel.as_closest_canonical(nibabel.load(SCAN))
        voxels = np.asarray(image.dataobj)[::-1, ::-1]  # RAS -> LPS
        noise = np.random.default_rng(seed).normal(0, 3, voxels.shape)
        voxels = np.ascontiguousarray(voxels / voxels.max() * 1000 + noise).astype(np.int16)
        corner = image.affine @ [image.shape[0] - 1, image.shape[1] - 1, 0, 1]
        self.folder = folder
        dicom_maker.write_series(
            folder,
            voxels,
            spacing_mm=nibabel.affines.voxel_sizes(image.affine),
            origin=(-corner[0], -corner[1], corner[2]),
        )
        self.uid = str(pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True).StudyInstanceUID)

    def instances(self) -> set[str]:
        """SOPInstanceUIDs of what was sent."""
        return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in self.folder.iterdir()}


def in_pacs(pacs: Orthanc, study: Study, modality: str = "SEG") -> list[bytes]:
    """The files of a study's modality in a PACS."""
    query = {"Level": "Instance", "Query": {"StudyInstanceUID": study.uid, "Modality": modality}}
    return [pacs.file(one) for one in json.loads(pacs.fetch("/tools/find", json.dumps(query).encode()))]


def problems(node: RunningNode, pacs: Orthanc, study: Study) -> list[str]:
    """What is not as it must be after a delivery, in words; empty where all is."""
    found, job = [], node.job_of(study)
    if job is None:
        return ["no job"]
    if job["state"] != "delivered":
        found.append(f"the job is {job['state']}: {job['error']}")
    if (jobs := len(node.rows("SELECT id FROM jobs WHERE scan = ?", job["scan"]))) != 1:
        found.append(f"{jobs} jobs")
    kept = node.queue / "scans" / job["scan"] / "source"
    if {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in kept.iterdir()} != (
        study.instances()
    ):
        found.append("an acknowledged instance is not kept")
    there = in_pacs(pacs, study)
    if len(there) != 1:
        found.append(f"{len(there)} SEG in the PACS")
    elif there[0] != (node.queue / "jobs" / job["id"] / "labels.seg.dcm").read_bytes():
        found.append("other bytes in the PACS")
    return found


def until(condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> float:
    """Waits until it holds; the seconds that took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() > begun + timeout_s:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.1)  # to look costs a core that the node needs
    return time.monotonic() - begun
