"""A training that takes a second, and processes that go through it: forks, so that torch is imported only once.

Shared by kill_resume.py and checkpoint_faults.py. The parent never computes; each training is a child of its own, which
may be killed at a call that it makes itself (`write_calls.py`) or by its parent at any moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
import torch

import unetr.infer.load
import unetr.jobs.training.train_model  # noqa: F401
from unetr.app.cli import main
from unetr.core.files.atomic import is_leftover
from unetr.core.plan.file import write_plan
from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan, TrainingPlan
from unetr.errors import InputError
from unetr.model.file.sealed import read_sealed
from unetr.train.run.checkpoint import KIND, checkpoints
from unetr.train.run.folder import Run
from write_calls import Before, Call, Kind, watching

STEPS, CHECKPOINT_STEPS = 8, 2
# What is not the same twice: clocks, and what carries their names.
_DIFFERS = {"timing.csv", "tensorboard"}
# The list of outputs has a line more for each time that a file was written.
_LISTS = ".unetr_outputs"


@dataclass(frozen=True)
class Ending:
    """How a command ended: its exit code, or minus the signal that killed it; and what it said on standard error."""

    code: int
    said: str


def make_dataset(folder: Path, cases: int = 4) -> Path:
    """Balls in shells in noise, 20x24x18 voxels each."""
    for case in range(cases):
        rng = np.random.default_rng(case)
        centre = np.array((10, 12, 9)) + rng.uniform(-2, 2, 3)
        distance = np.linalg.norm(np.indices((20, 24, 18)) - centre[:, None, None, None], axis=0)
        label = np.where(distance < 4, 1, np.where(distance < 6.5, 2, 0)).astype(np.uint8)
        image = (np.array([0, 200, 100])[label] + rng.normal(500, 20, label.shape)).astype(np.int16)
        for name, data in (("images", image), ("labels", label)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            scan = nibabel.Nifti1Image(data, np.eye(4))
            scan.header.set_sform(np.eye(4), 1)
            scan.header.set_qform(np.eye(4), 1)
            nibabel.save(scan, folder / name / f"case_{case}.nii.gz")
    (folder / "labels.json").write_text(json.dumps({"ball": 1, "shell": 2}))
    return folder


def make_plan(path: Path) -> Path:
    """A plan for it: a network of 57,000 weights, whose checkpoint has 290 arrays."""
    plan = Plan(
        dataset="balls",
        channels=(ChannelPlan(name="channel 1"),),
        labels={"background": 0, "ball": 1, "shell": 2},
        spacing_mm=(1.0, 1.0, 1.0),
        window=(16, 16, 16),
        network=NetworkPlan(
            preset="test", patch=8, width=16, depth=3, heads=2, mlp_width=32, taps=(1, 2, 3), feature_size=4
        ),
        training=TrainingPlan(batch_size=2),
    )
    write_plan(path, plan)
    return path


@dataclass(frozen=True)
class Task:
    """What is trained: everything of the command but its output."""

    dataset: Path
    options: tuple[str, ...]

    def command(self, out: Path) -> list[str]:
        return ["train", str(self.dataset), "-o", str(out), *self.options]


BUDGET = ("--steps", str(STEPS), "--checkpoint-steps", str(CHECKPOINT_STEPS))


def small_task(folder: Path, budget: tuple[str, ...] = BUDGET) -> Task:
    """The task of a second: one of its four cases validates."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = make_plan(folder / "plan.yaml")
    return Task(make_dataset(folder / "data"), ("--plan", str(plan), "--folds", "4", *budget))


Meanwhile = Callable[[int, threading.Event], None]


def attempt(task: Task, out: Path, before: Before | None = None, meanwhile: Meanwhile | None = None) -> Ending:
    """Runs `unetr train` in a child. before: told of each call that writes.

    meanwhile: called in a thread with the child's process id and an event that says when it has ended.
    """
    said, ended = out.with_name(f"{out.name} said"), threading.Event()
    child = os.fork()
    if child == 0:
        os._exit(_train(task.command(out), out, said, before))
    thread = threading.Thread(target=meanwhile or (lambda *_: None), args=(child, ended))
    thread.start()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    ended.set()
    thread.join()  # so that the next fork finds no other thread
    return Ending(code, said.read_text() if said.exists() else "")


def _train(arguments: list[str], out: Path, said: Path, before: Before | None) -> int:
    """In the child: the command, its standard error going to a file."""
    torch.set_num_threads(1)
    with said.open("w") as errors, Path(os.devnull).open("w") as nothing:
        os.dup2(errors.fileno(), 2)
        os.dup2(nothing.fileno(), 1)
        sys.argv = ["unetr", *arguments]
        try:
            with watching(out, before or (lambda _: None)):
                main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:  # noqa: BLE001  (what the interpreter would do)
            traceback.print_exc()
            return 1
        finally:
            sys.stderr.flush()
    return 0


def recorded(task: Task, out: Path) -> list[Call]:
    """Trains from beginning to end; returns the calls that wrote."""
    calls = out.with_name(f"{out.name} calls")
    calls.unlink(missing_ok=True)
    handle = os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    ending = attempt(task, out, lambda call: os.write(handle, f"{call.kind}\t{call.path}\n".encode()) and None)
    os.close(handle)
    if ending.code:
        sys.exit(f"a training that is left alone ends with {ending}")
    rows = (line.split("\t", 1) for line in calls.read_text().splitlines())
    return [Call(cast(Kind, kind), Path(path)) for kind, path in rows]


def digests(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of everything in a run that training decides, temporary files too."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    named = {str(path.relative_to(folder)): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named.items()
        if (name.split("/", 1)[0] not in _DIFFERS and path.name != _LISTS) or is_leftover(path)
    }


def steps_saved(folder: Path) -> list[int]:
    """The steps of a run's checkpoints. Exits where one does not verify: it must not have its name then."""
    found = checkpoints(Run(folder).checkpoints)
    for path in found:
        try:
            read_sealed(path, KIND)
        except InputError as error:
            sys.exit(f"a checkpoint under its final name is not whole: {error}")
    return [int(path.stem.removeprefix("step-")) for path in found]


def steps_logged(folder: Path) -> int:
    """Whole rows of a run's log."""
    log = Run(folder).log
    return max(0, log.read_text().count("\n") - 1) if log.exists() else 0


def send_later(number: signal.Signals, delay_s: float, ready: Callable[[], bool] = lambda: True) -> Meanwhile:
    """For `meanwhile`: sends the signal a moment after something is so, if the child has not ended by then."""

    def wait_and_send(child: int, ended: threading.Event) -> None:
        while not ready():
            if ended.wait(0.002):
                return
        if not ended.wait(delay_s):
            with suppress(ProcessLookupError):
                os.kill(child, number)

    return wait_and_send
