"""The whole of a node as a person runs it, between dcmtk's sender and a real Orthanc."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from tests.io.dicom.dicom_maker import PATIENT_NAME, write_series
from tests.orthanc import Orthanc, dcmtk
from tests.systems import POSIX

from unetr.node.run import Node
from unetr.node.settings import NodeSettings

VOXELS = np.random.default_rng(0).integers(0, 900, (20, 22, 18)).astype(np.int16)

RULE: dict[str, Any] = {"name": "a", "model": "model", "when": {}}


class Command:
    """`unetr node`, which can be killed and started again."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = folder / "node.yaml"
        self.settings.write_text(json.dumps(settings), encoding="utf-8")
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        command = [sys.executable, "-m", "unetr", "node", str(self.settings), "--folder", str(self.folder / "queue")]
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("ab") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)
        said = until(lambda: re.search(r"dicom://UNETR@127.0.0.1:(\d+)\n", (self.folder / "out").read_text()))
        self.port = int(said[1])

    def end(self, number: int) -> int:
        """Its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def send(self, files: list[Path]) -> None:
        command = [dcmtk("storescu"), "-R", "-aec", "UNETR", "127.0.0.1", str(self.port), *map(str, files)]
        subprocess.run(command, check=True, timeout=60)

    def said(self) -> str:
        return (self.folder / "err").read_text()


def until(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What it finds, as soon as that is something."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.1)
    return value


@pytest.fixture
def node(tmp_path: Path, orthanc: Orthanc, tiny_model: Path) -> Iterator[Command]:
    (tmp_path / "node").mkdir()
    settings = {
        "models": [str(tiny_model)],
        "rules": [
            {"name": "all", "model": "model", "when": {"modality": "MR"}, "forms": "dicom-seg", "destinations": "pacs"}
        ],
        "listen": {"port": 0},
        "limits": {"keep_free_mb": 0},
        "ready": {"quiet_s": 0.5, "cut_off_s": 60},
        "deliver": [{"name": "pacs", "dicomweb": {"url": orthanc.dicom_web}}],
        "pull": [{"name": "orthanc", "orthanc": {"url": orthanc.url}, "every_s": 0.5, "sweep_s": 2}],
    }
    made = Command(tmp_path / "node", settings)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


@POSIX
def test_from_a_scanner_to_the_pacs_over_kills_without_a_loop(
    node: Command, orthanc: Orthanc, unetr: Callable[..., Any], tmp_path: Path
) -> None:
    write_series(tmp_path / "series", VOXELS)
    files = sorted((tmp_path / "series").iterdir())
    node.start()
    node.send(files)
    assert node.end(signal.SIGKILL) == -signal.SIGKILL  # all slices are acknowledged and must not be lost
    node.start()
    (found,) = until(lambda: orthanc.instances("SEG"))
    segmentation = pydicom.dcmread(until(lambda: _saved(orthanc, found["ID"], tmp_path / "seg.dcm")))
    referenced = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    uids = {pydicom.dcmread(file).SOPInstanceUID for file in files}
    assert {one.ReferencedSOPInstanceUID for one in referenced} == uids
    # The PACS gets the scan and sends all of the study on to us, our result with it; and we ask it for what is new.
    orthanc.store(files)
    orthanc.know("node", "UNETR", node.port)
    orthanc.send("node", orthanc.get("/series"))
    until(lambda: "orthanc: 1 series fetched" in node.said())
    time.sleep(2)
    assert len(orthanc.instances("SEG")) == 1
    assert len([line for line in node.said().splitlines() if "submitted" in line]) <= 1
    assert node.end(signal.SIGTERM) == 143 and "Traceback" not in node.said()
    listed = unetr("node", node.settings, "--folder", tmp_path / "node" / "queue", "--arrived")
    assert listed.code == 0 and listed.out.count("submitted") == 1 and "STORESCU" in listed.out
    left = [path for path in (tmp_path / "node" / "queue").rglob("*") if path.is_file()]
    shown = node.said().encode() + b"".join(
        path.read_bytes() + str(path).encode() for path in left if path.suffix not in (".dcm", ".gz", ".png")
    )
    assert not any(part.encode() in shown for part in PATIENT_NAME.split("^"))


def _saved(orthanc: Orthanc, instance: str, path: Path) -> Path:
    path.write_bytes(orthanc.file(instance))
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rules": [{"name": "a", "model": "liver", "when": {}}]}, "model liver is not offered"),
        (
            {"rules": [{"name": "a", "model": "model", "when": {}, "destinations": "x"}]},
            "which `deliver` does not name",
        ),
        ({"rules": [{"name": "a", "model": "model", "when": {}, "forms": "jpeg"}]}, "form jpeg is unknown"),
        ({"models": ["/none.safetensors"]}, "none.safetensors"),
    ],
)
def test_settings_that_cannot_be_worked_with_end_it_in_words(
    unetr: Callable[..., Any], tmp_path: Path, tiny_model: Path, changes: Mapping[str, Any], said: str
) -> None:
    plain = {"models": [str(tiny_model)], "rules": [RULE], "listen": {"port": 0}}
    (tmp_path / "node.yaml").write_text(json.dumps(plain | dict(changes)), encoding="utf-8")
    outcome = unetr("node", tmp_path / "node.yaml", "--folder", tmp_path / "queue")
    assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err


def test_checking_says_which_rule_takes_a_series(unetr: Callable[..., Any], tmp_path: Path) -> None:
    write_series(tmp_path / "series", VOXELS)
    rules = [
        {"name": "ct", "model": "m", "when": {"modality": "CT"}},
        {"name": "mr", "model": "m", "when": {"modality": "MR", "slices_at_least": 18}},
        {"name": "many", "model": "m", "when": {"slices_at_least": 19}},
    ]
    (tmp_path / "node.yaml").write_text(json.dumps({"models": "m", "rules": rules}), encoding="utf-8")
    outcome = unetr("node", tmp_path / "node.yaml", "--check", "--series", tmp_path / "series")
    answers = {line.split()[1]: line for line in outcome.out.splitlines() if line.strip()[:1].isdigit()}
    assert outcome.code == 0 and "modality: expected CT" in answers["ct"] and "takes it" in answers["mr"]
    assert "slices_at_least: expected 19, found 18" in answers["many"]


def test_a_thread_that_ends_by_a_defect_names_nobody(
    tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise RuntimeError(PATIENT_NAME)

    before, lines = threading.excepthook, list[str]()
    told = {"models": [str(tiny_model)], "rules": [RULE], "listen": {"port": 0}}
    with Node(NodeSettings.model_validate(told), tmp_path / "queue", lines.append):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert lines == ["a thread of the node ended: RuntimeError"]
    assert PATIENT_NAME not in "".join(capfd.readouterr()) and threading.excepthook is before
