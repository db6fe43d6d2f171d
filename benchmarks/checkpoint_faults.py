"""Refuses the writes of a checkpoint, fills the disk under it, and stops trainings by SIGTERM.

    uv run python benchmarks/checkpoint_faults.py --out FOLDER

1. Every call that writes in saving one checkpoint is refused, one at a time: with EIO once, with ENOSPC from then on.
   The save must raise one line that names the file, what was in the folder be still there, and nothing half written.
2. The same for some of the calls in `unetr train`, which must exit with 4, and then, run again, end with the same bits.
3. A real full disk: a tmpfs that is too small by a little more or less (needs root; skipped otherwise).
4. SIGTERM at random moments: exit code 143, and a checkpoint of the step of the signal or of the one after it; in a
   budget of minutes also before these have become a number of steps.

Prints a table; exits 1 where something is not so.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from kill_resume import in_part, moment
from small_run import (
    CHECKPOINT_STEPS,
    Ending,
    Task,
    attempt,
    digests,
    recorded,
    send_later,
    small_task,
    steps_logged,
    steps_saved,
)
from unetr.core.plan.file import read_plan
from unetr.errors import MachineError
from unetr.train.optimise.schedule import TIMED_TO
from unetr.train.optimise.step import start_trainer
from unetr.train.run.checkpoint import restore_checkpoint, save_checkpoint
from unetr.train.run.folder import Run
from unetr.train.run.settings import read_settings
from write_calls import Before, Call, DiskFull, Nth, kill, refuse, watching


def saving(call: Call) -> bool:
    return call.kind != "removed" and in_part("a checkpoint")(call)


FAULTS: dict[str, Callable[[int], Before]] = {
    "EIO": lambda n: Nth(n, saving, refuse(errno.EIO)),
    "ENOSPC": lambda n: DiskFull(n, saving),
}


def row(what: str, tried: int, good: int) -> bool:
    print(f"| {what} | {tried} | {good} |", flush=True)
    return tried == good


def every_call(started: Path) -> dict[str, tuple[int, int]]:
    """Refuses each call of a save in this process. Returns the refusals of each kind, and how many were borne well."""
    torch.set_num_threads(1)
    run = Run(started)
    state = start_trainer(read_plan(run.plan), read_settings(run).seed).state
    restore_checkpoint(run.checkpoints, state)
    found = {}
    for name, fault in FAULTS.items():
        state.step += 1  # a checkpoint to come, and one to be removed
        before = digests(run.checkpoints)
        n = good = 0
        while True:
            try:
                with watching(run.checkpoints, fault(n + 1)):
                    save_checkpoint(run.checkpoints, state)
                break
            except MachineError as error:
                n += 1
                left = digests(run.checkpoints)
                finished = left.pop(f"step-{state.step:08d}.safetensors", "") != ""
                named = str(run.checkpoints) in str(error) and "\n" not in str(error)
                good += named and left == before
                if finished:  # refused only after the rename: it must be whole
                    steps_saved(started)
                    (run.checkpoints / f"step-{state.step:08d}.safetensors").unlink()
        found[name] = (n, good)
    return found


def refused(ending: Ending, out: Path) -> bool:
    """Whether the command ended as it should when the machine refuses: code 4, one line naming a file of the run."""
    lines = [line for line in ending.said.splitlines() if not line.startswith("step ")]
    return ending.code == 4 and len(lines) == 1 and lines[0].startswith(f"unetr: {out}")


def in_the_command(task: Task, started: Path, whole: dict[str, str], rng: random.Random) -> bool:
    """Refuses calls of each kind in a resumed training, which is then run again."""
    calls: list[Call] = recorded(task, Path(shutil.copytree(started, started.with_name("watched"))))
    moments = [moment(call) for call in filter(saving, calls)]
    picked = {moments.index(name) + 1 for name in moments} | set(rng.sample(range(1, len(moments) + 1), 8))
    sound = True
    for name, fault in FAULTS.items():
        good = 0
        for n in sorted(picked):
            out = started.with_name(f"refused {n} {name}")
            shutil.copytree(started, out)
            ending = attempt(task, out, fault(n))
            one_line, saved = refused(ending, out), steps_saved(out)
            same = attempt(task, out).code == 0 and digests(out) == whole
            good += one_line and len(saved) > 0 and same
            if not (one_line and same):
                print(f"{out}: {ending}", file=sys.stderr)
        sound &= row(f"`unetr train`, {name} at one of its calls, then run again", len(picked), good)
    return sound


def full_disk(task: Task, started: Path, whole: dict[str, str], rng: random.Random, count: int) -> bool:
    """A disk that fills up somewhere in the next checkpoints, and is then made larger."""
    disk = started.with_name("disk")
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        print("| a real full disk | skipped: mounting a tmpfs is not permitted | |")
        return True
    good = tried = 0
    try:
        while tried < count:
            out = disk / f"run {tried}"
            shutil.copytree(started, out)
            used = sum(path.stat().st_blocks * 512 for path in out.rglob("*"))
            room_kb = used // 1024 + rng.randint(4, 2200)
            subprocess.run(["mount", "-o", f"remount,size={room_kb}k", str(disk)], check=True)
            ending = attempt(task, out)
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            if ending.code != 0:  # else there was room enough
                tried += 1
                ended_well = refused(ending, out) and bool(steps_saved(out))
                same = attempt(task, out).code == 0 and digests(out) == whole
                good += ended_well and same
                if not (ended_well and same):
                    print(f"{out}, {room_kb} kB: {ending}", file=sys.stderr)
            shutil.rmtree(out)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    return row("`unetr train`, a tmpfs that is full, then enlarged", tried, good)


def stopped(task: Task, out: Path, rng: random.Random, after: int) -> bool:
    """Sends SIGTERM some time after so many steps. Whether at most one step is lost."""
    seen: list[int] = []

    def ready() -> bool:
        if steps_logged(out) < after:
            return False
        seen.append(steps_logged(out))
        return True

    ending = attempt(task, out, meanwhile=send_later(signal.SIGTERM, rng.uniform(0, 0.05), ready))
    logged, saved = steps_logged(out), max([0, *steps_saved(out)])
    good = ending.code == 143 and saved == logged and saved >= seen[0]
    if not good:
        print(f"{out}: {logged} steps made, {saved} saved: {ending}", file=sys.stderr)
    return good


def by_sigterm(task: Task, folder: Path, whole: dict[str, str], rng: random.Random, count: int) -> bool:
    """SIGTERM within a number of steps; the last word is that of the bits."""
    good = 0
    long_between = Task(task.dataset, (*task.options[:-1], "1000"))
    for number in range(count):
        out = folder / f"sigterm {number}"
        once = stopped(long_between, out, rng, rng.randint(1, 6))
        good += once and attempt(task, out).code == 0 and _same_but_checkpoints(digests(out), whole)
    return row("`unetr train`, SIGTERM, then run again", count, good)


def _same_but_checkpoints(found: dict[str, str], whole: dict[str, str]) -> bool:
    """The checkpoint of a stop may be at another step than those of the run that was left alone; the last is there."""
    last = max(name for name in whole if name.startswith("checkpoints/"))
    return all(found.get(name) == whole[name] for name in whole if name == last or not name.startswith("checkpoints/"))


def by_sigterm_within_minutes(task: Task, folder: Path, rng: random.Random, count: int) -> bool:
    """SIGTERM while the steps of a budget in minutes are timed: none is lost, and the run comes to its end."""
    minutes = Task(task.dataset, (*task.options[: task.options.index("--steps")], "--minutes", "0.05"))
    good = 0
    for number in range(count):
        out = folder / f"minutes {number}"
        once = stopped(minutes, out, rng, rng.randint(1, TIMED_TO - 4))
        good += once and read_settings(Run(out)).schedule_steps is None and attempt(minutes, out).code == 0
    return row("`unetr train --minutes`, SIGTERM in the steps that are timed, then run again", count, good)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/checkpoint_faults"))
    parser.add_argument("--full-disks", type=int, default=12)
    parser.add_argument("--sigterms", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    rng, start = random.Random(arguments.seed), time.monotonic()
    task, started = small_task(arguments.out), arguments.out / "started"
    recorded(task, arguments.out / "whole")
    whole = digests(arguments.out / "whole")
    # Killed in the row of the step after its second checkpoint.
    rows = Nth(2 * CHECKPOINT_STEPS + 1, lambda call: call.kind == "half written" and call.path.name == "log.csv", kill)
    attempt(task, started, rows)
    if steps_saved(started) != [CHECKPOINT_STEPS, 2 * CHECKPOINT_STEPS]:
        sys.exit(f"{started}: has the checkpoints {steps_saved(started)}")
    print("| what | tries | as it should be |\n|---|---|---|", flush=True)
    sound = in_the_command(task, started, whole, rng)
    sound &= full_disk(task, started, whole, rng, arguments.full_disks)
    sound &= by_sigterm(task, arguments.out, whole, rng, arguments.sigterms)
    sound &= by_sigterm_within_minutes(task, arguments.out, rng, arguments.sigterms // 2)
    # Last: this process computes, and forks no more.
    for name, (tried, good) in every_call(started).items():
        sound &= row(f"saving a checkpoint, {name} at each of its calls", tried, good)
    print(f"\n{time.monotonic() - start:.0f} s")
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
