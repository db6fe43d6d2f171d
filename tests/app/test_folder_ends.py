"""Folders of scans that end before the end: signals, a full disk, kills."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.app.folder_reports import labels, report_of, sha256, states
from tests.systems import POSIX

Command = Callable[..., Any]
Refused = Callable[..., None]
Save = Callable[..., Path]
FilesIn = Callable[[Path], list[str]]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_whole_files_and_a_true_report(
    number: signal.Signals,
    code: int,
    unetr: Command,
    assert_refused: Refused,
    tiny_model: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files_in: FilesIn,
) -> None:
    from unetr.infer.predict import Segmenter

    out, count = tmp_path / "out", iter(range(9))
    segment = Segmenter.segment

    def signalled(*arguments: Any, **options: Any) -> Any:
        if next(count) == 2:
            signal.raise_signal(number)
        return segment(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "segment", signalled)
        assert_refused(unetr("predict", tiny_model, scans, "-o", out), code, "stopped by")
    assert states(out) == {"case 0": "done", "case 1": "done", "case 2": "pending", "case 3": "pending"}
    assert files_in(out) == ["case 0.nii.gz", "case 1.nii.gz", "report.json"]
    assert unetr("predict", tiny_model, scans, "-o", out, "--continue").code == 0
    assert states(out) == {"case 0": "skipped", "case 1": "skipped", "case 2": "done", "case 3": "done"}


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(
    unetr: Command,
    assert_refused: Refused,
    tiny_model: Path,
    scans: Path,
    save_scan: Save,
    tiny_disk: Path,
    files_in: FilesIn,
) -> None:
    large = np.random.default_rng(0).normal(size=(48, 48, 48)).astype(np.float32)
    save_scan(scans / "case 1 large.nii", large)  # its label file is larger than the disk
    (scans / "case 2.nii.gz").unlink()
    out = tiny_disk / "out"
    outcome = unetr("predict", tiny_model, scans, "-o", out)
    assert_refused(outcome, 4, out / "case 1 large.nii", "the disk is full")
    assert states(out) == {"case 0": "done", "case 1": "done", "case 1 large": "failed", "case 3": "pending"}
    assert files_in(out) == ["case 0.nii.gz", "case 1.nii.gz", "report.json"]
    recorded = {o["file"]: o["sha256"] for case in report_of(out)["cases"] for o in case["outputs"]}
    assert recorded == labels(out)


@POSIX
def test_kills_then_continue_give_the_bytes_of_a_clean_run(
    unetr: Command,
    tiny_model: Path,
    scans: Path,
    bad_scans: dict[str, str],
    datasets: ModuleType,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """benchmarks/folder_kill.py does this with 200 scans and 20 kills."""
    for seed in range(4, 14):
        sample = datasets.KINDS["balls"].make(seed, 1)
        datasets.save_scan(scans / f"case {seed}.nii.gz", sample.channels[0], sample.affine)
    clean, out = tmp_path / "clean", tmp_path / "out"
    good = tmp_path / "good"
    good.mkdir()
    for path in scans.glob("case *.nii.gz"):
        shutil.copy(path, good)
    assert unetr("predict", tiny_model, good, "-o", clean, "--precision", "fp32").code == 0
    rng = np.random.default_rng(0)
    options = ["-o", out, "--precision", "fp32", "--continue"]
    command = [sys.executable, "-m", "unetr", "predict", *map(str, (tiny_model, scans, *options))]
    for _ in range(4):
        goal = len(list(out.glob("[!.]*.nii.gz"))) + int(rng.integers(1, 4))
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(out.glob("[!.]*.nii.gz"))) < goal:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for case in report_of(out)["cases"]:  # never says done of what is not whole
            assert all(sha256(out / output["file"]) == output["sha256"] for output in case["outputs"])
        (out / f".unetr-{os.urandom(6).hex()}.nii.gz").write_bytes(b"half")
    assert unetr("predict", tiny_model, scans, *options).code == 3
    assert labels(out) == labels(clean) and len(labels(out)) == 14
    found = states(out)
    assert {name for name, state in found.items() if state == "failed"} == set(bad_scans)
    assert "skipped" in found.values()
