"""Jobs in processes of their own: results, errors of every kind, crashes, stopping, and what is read from a request."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.systems import POSIX

from unetr.core.machine.child import Ended, child_environment, python_module, run_child
from unetr.core.observer import Observer
from unetr.core.plan.file import write_plan
from unetr.errors import BatchError, CancelledError, InputError, MachineError, StoppedError
from unetr.infer.load import load
from unetr.jobs.apart.job import Job, checked, is_answered, read_answer, write_error, write_request, write_result
from unetr.jobs.apart.registry import JOBS, LOGITS, TRAIN, LogitsRequest, TrainRequest
from unetr.jobs.apart.run_apart import run_apart


class Stops(Observer):
    def should_stop(self) -> bool:
        return True


def started_child(command: list[str], log: Path, should_stop: Callable[[], bool]) -> Ended:
    with log.open("wb") as said:
        return run_child(command, said, should_stop)


def asked(folder: Path, document: Any) -> subprocess.CompletedProcess[str]:
    (folder / "request.json").write_text(json.dumps(document))
    command = python_module("unetr.jobs.apart", folder)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())


def test_a_job_computes_what_this_process_computes(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "logits.npy"
    done = run_apart(LOGITS, LogitsRequest(model=tiny_model, engine="openvino", out=out), Observer())
    logits = np.load(out)
    window = np.random.default_rng(0).normal(size=(1, 1, 16, 16, 16)).astype(np.float32)
    here = load(tiny_model, engine="openvino", precision="fp32").engine(window)[0]
    np.testing.assert_allclose(logits, here, rtol=1e-4, atol=1e-4)
    assert done.result is None and done.peak_mb is not None and 20 < done.peak_mb < 5000


def test_its_error_is_one_of_this_process(tmp_path: Path) -> None:
    request = LogitsRequest(model=tmp_path / "none.safetensors", engine="openvino", out=tmp_path / "x.npy")
    with pytest.raises(InputError, match=r"none\.safetensors"):
        run_apart(LOGITS, request, Observer(), log=tmp_path / "said.log")
    said = tmp_path / "said.log"
    assert "none.safetensors" in said.read_text() and "Traceback" not in said.read_text()
    assert stat.S_IMODE(said.stat().st_mode) == 0o600 or os.name != "posix"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"job": "format the disk", "request": {}}, "format the disk: is no job"),
        ({"job": "logits", "request": {"model": "a", "engine": "onnx"}}, "out: "),
        ({"job": "logits", "request": {"model": "a", "engine": "onnx", "out": "b", "evil": 1}}, "evil"),
        (["logits"], "is no request"),
        ({"job": ["logits"], "request": {}}, "is no request"),
    ],
)
def test_requests_that_are_none(document: Any, words: str, tmp_path: Path) -> None:
    done = asked(tmp_path, document)
    assert done.returncode == InputError.exit_code and done.stdout == ""
    answer = json.loads((tmp_path / "answer.json").read_text())["error"]
    assert answer["kind"] == "InputError" and words in answer["message"] and answer["message"] in done.stderr


@pytest.mark.parametrize("kind", [InputError, BatchError, MachineError, StoppedError, CancelledError])
def test_every_kind_of_error_goes_through_a_file(kind: type, tmp_path: Path) -> None:
    class Finer(kind):  # type: ignore[misc]
        """One that only the other process knows."""

    write_error(tmp_path, Finer("scan\x1b.nii: is bad", hint="strict"))
    with pytest.raises(kind) as raised:
        read_answer(tmp_path, LOGITS)
    assert type(raised.value) is kind and raised.value.hint == "strict"
    assert str(raised.value) == str(kind("scan\x1b.nii: is bad"))


def test_every_job_has_requests_that_json_can_hold(tmp_path: Path) -> None:
    assert all(name == job.name and isinstance(job, Job) for name, job in JOBS.items())
    request = LogitsRequest(model=Path("a b"), engine="onnx", out=Path("ü"))
    write_request(tmp_path, LOGITS, request)
    document = json.loads((tmp_path / "request.json").read_text())
    assert checked(LOGITS, document["request"]) == request
    assert not is_answered(tmp_path)
    write_result(tmp_path, LOGITS, None)
    assert is_answered(tmp_path) and read_answer(tmp_path, LOGITS) is None


@POSIX
def test_a_crash_is_told_with_the_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unetr.jobs.apart.run_apart.python_module", lambda *_: CRASH)
    with pytest.raises(MachineError, match=r"job logits ended with -9: the last words"):
        run_apart(LOGITS, LogitsRequest(model=tmp_path, engine="onnx", out=tmp_path), Observer())


CRASH = [sys.executable, "-c", "import os; print('the last words', flush=True); os.kill(os.getpid(), 9)"]
WAITING = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(open(sys.argv[1], 'w').write('saved'))); "


@POSIX
def test_an_observer_stops_the_process_and_waits_for_it(tmp_path: Path) -> None:
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    code = f"{WAITING}open({str(ready)!r}, 'w'); time.sleep(60)"
    started = time.monotonic()
    with pytest.raises(StoppedError):
        started_child([sys.executable, "-c", code, str(saved)], tmp_path / "log", ready.exists)
    assert saved.read_text() == "saved" and time.monotonic() - started < 30


def test_a_job_that_does_not_ask_ends_where_it_is(tiny_model: Path, tmp_path: Path) -> None:
    request = LogitsRequest(model=tiny_model, engine="openvino", out=tmp_path / "x.npy")
    with pytest.raises(StoppedError):
        run_apart(LOGITS, request, Stops())


@POSIX
def test_what_stops_this_process_stops_the_child(tmp_path: Path) -> None:
    saved = tmp_path / "saved"

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        threading.Timer(2, lambda: os.kill(os.getpid(), signal.SIGALRM)).start()
        with pytest.raises(KeyboardInterrupt):
            started_child(
                [sys.executable, "-c", f"{WAITING}time.sleep(60)", str(saved)], tmp_path / "log", lambda: False
            )
    finally:
        signal.signal(signal.SIGALRM, before)
    assert saved.exists()


def test_a_training_that_is_stopped_saves_its_state_and_goes_on(
    make_dataset: Callable[..., Path], tiny_plan: Any, tmp_path: Path
) -> None:
    out, log = tmp_path / "run", tmp_path / "said.log"
    write_plan(tmp_path / "plan.yaml", tiny_plan)
    request = TrainRequest(
        dataset=make_dataset("folders", kind="balls"), out=out, plan=tmp_path / "plan.yaml", folds=3, steps=4000
    )

    class AfterSomeSteps(Observer):
        def should_stop(self) -> bool:
            return (out / "log.csv").exists() and len((out / "log.csv").read_text().splitlines()) > 3

    with pytest.raises(StoppedError):
        run_apart(TRAIN, request, AfterSomeSteps(), log=log)
    rows = len((out / "log.csv").read_text().splitlines()) - 1
    assert 3 <= rows < 4000
    assert [path.name for path in (out / "checkpoints").iterdir()] == [f"step-{rows:08d}.safetensors"]
    assert "stopped" in log.read_text().splitlines()[-1] and "Traceback" not in log.read_text()
