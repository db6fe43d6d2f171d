"""Kills `unetr train` with SIGKILL, runs it again, and compares all that it wrote with a run that was left alone.

    uv run python benchmarks/kill_resume.py --out FOLDER
    uv run python benchmarks/kill_resume.py --out FOLDER --random 5 --dataset ../shared/data/Task04_Hippocampus \\
        -- --preset tiny --steps 40 --checkpoint-steps 6

Most kills are aimed: the process kills itself at a certain call that writes, such as between the flush of a checkpoint
and its rename. Others come at random moments, several in one run. The comparison takes in every file but timing.csv and
TensorBoard's: checkpoints (weights, averages, optimiser), logs, model files, predictions, scores, cache; and that no
temporary file is left. Prints a table; exits 1 when a bit differs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from small_run import (
    CHECKPOINT_STEPS,
    STEPS,
    Task,
    attempt,
    digests,
    recorded,
    send_later,
    small_task,
    steps_logged,
    steps_saved,
)
from unetr.core.files.atomic import is_leftover
from write_calls import Call, Nth, kill

Wanted = Callable[[Call], bool]
LOGS = {"log.csv", "timing.csv", "validation.csv"}
# Parts of a run's folder beside its checkpoints -> how many kills there.
PARTS = {
    "plan, fingerprint, settings": 12,
    "cache": 8,
    "a row of a log": 14,
    "TensorBoard's events": 4,
    "model files": 10,
    "predictions and scores": 8,
}
ROUNDS_OF_WRITES = 16  # kills within the bytes of a checkpoint


@dataclass(frozen=True)
class Aim:
    """Kills of one run, each at the n-th of the calls that are wanted in its process; the place of the last one."""

    place: str
    kills: tuple[tuple[int, Wanted], ...]


def part(call: Call) -> str:
    """Which part of a run's folder a call writes to; empty for flushing the names in it."""
    folder, name = call.path.parent.name, call.path.name
    inside = {"checkpoints": "a checkpoint", "cache": "cache", "validation": "predictions and scores"}
    inside |= {"tensorboard": "TensorBoard's events"}
    if folder in inside or name in inside:
        return inside.get(folder) or inside[name]
    if name in LOGS and call.kind != "rename":
        return "a row of a log"
    suffixes = {".csv": "logs cut on resuming", ".safetensors": "model files"}
    return suffixes.get(call.path.suffix, "plan, fingerprint, settings" if call.path.suffix else "")


def in_part(wanted: str) -> Wanted:
    return lambda call: part(call) == wanted


def moment(call: Call) -> str:
    """When in the writing of a checkpoint a call comes."""
    if call.kind == "flush":
        return "all bytes written, not flushed" if is_leftover(call.path) else "renamed, the folder not flushed"
    return {
        "open": "before the first byte",
        "write": "some bytes written",
        "half written": "some bytes written",
        "rename": "flushed, not renamed",
        "remove": "before an old one is removed",
        "removed": "an old one removed",
    }[call.kind]


def checkpoint_aims(calls: list[Call], rng: random.Random) -> list[Aim]:
    """Every call of every checkpoint that is no write, and some of the hundreds of writes."""
    of_moment = defaultdict(list)
    wanted = in_part("a checkpoint")
    for n, call in enumerate(filter(wanted, calls), start=1):
        of_moment[moment(call)].append(n)
    of_moment["some bytes written"] = rng.sample(of_moment["some bytes written"], ROUNDS_OF_WRITES)
    aims = [Aim(f"checkpoint: {name}", ((n, wanted),)) for name, found in of_moment.items() for n in found]

    def removing_step(call: Call) -> bool:
        return call.kind == "removed" and call.path.name.startswith("step-")

    # A process killed before it removes the old checkpoint leaves two for the next one, which is killed between them.
    for before in of_moment["before an old one is removed"][:-1]:
        aims += [Aim("checkpoint: one of two old ones removed", ((before, wanted), (1, removing_step)))]
    for half in of_moment["some bytes written"][:2]:
        removing = (1, lambda call: call.kind == "remove" and is_leftover(call.path))
        aims.append(Aim("checkpoint: what a kill left not yet removed", ((half, wanted), removing)))
    return aims


def other_aims(calls: list[Call], rng: random.Random) -> list[Aim]:
    aims = []
    for name, count in PARTS.items():
        wanted = in_part(name)
        there = sum(map(wanted, calls))
        aims += [Aim(name, ((n, wanted),)) for n in sorted(rng.sample(range(1, there + 1), min(count, there)))]
    # Killed in the row of a step after a checkpoint, and once more when the logs are cut back to it.
    in_row = in_part("a row of a log")
    halves = [n for n, call in enumerate(filter(in_row, calls), start=1) if call.kind == "half written"]
    ahead = (halves[-4], in_row)
    aims += [Aim("logs cut on resuming", (ahead, (n, in_part("logs cut on resuming")))) for n in range(1, 11)]
    return aims


@dataclass
class Row:
    """Of the table: what came of the kills at one place."""

    kills: int = 0
    runs: int = 0
    identical: int = 0
    latest: int = 0
    before: int = 0


def play(task: Task, out: Path, aim: Aim, row: Row) -> None:
    """Kills a run, looks at what is left, runs it again."""
    for n, wanted in aim.kills:
        ending = attempt(task, out, Nth(n, wanted, kill))
        if ending.code != -signal.SIGKILL:
            sys.exit(f"{aim.place}: was to be killed at call {n}, ended with {ending}")
        row.kills += 1
        due = steps_logged(out) // CHECKPOINT_STEPS * CHECKPOINT_STEPS
        newest = max([0, *steps_saved(out)])
        row.latest += newest == due
        row.before += newest == due - CHECKPOINT_STEPS


def finish(task: Task, out: Path, whole: dict[str, str], row: Row) -> None:
    """Runs what was killed to its end and compares it with the run that was left alone."""
    ending = attempt(task, out)
    found = digests(out)
    row.runs += 1
    row.identical += found == whole and ending.code == 0
    if found != whole or ending.code:
        names = [name for name in sorted(found.keys() | whole.keys()) if found.get(name) != whole.get(name)]
        print(f"{out}: DIFFERENT: {', '.join(names)}; {ending}", file=sys.stderr, flush=True)
    else:
        shutil.rmtree(out)


def at_random(task: Task, folder: Path, whole: dict[str, str], count: int, seconds: float, rng: random.Random) -> Row:
    """Kills at moments that nobody chose, several in a run until it is done, then in the next."""
    row = Row()
    while row.kills < count:
        out = folder / f"random {row.runs}"
        while row.kills < count:
            later = send_later(signal.SIGKILL, rng.uniform(0, seconds))
            if attempt(task, out, meanwhile=later).code != -signal.SIGKILL:
                break
            row.kills += 1
            steps_saved(out)
        finish(task, out, whole, row)
    return row


def table(rows: dict[str, Row]) -> str:
    lines = ["| killed | kills | runs compared | identical | from the latest checkpoint | from the one before |"]
    lines.append("|---|---|---|---|---|---|")
    total = Row(*(sum(getattr(row, name) for row in rows.values()) for name in Row.__dataclass_fields__))
    for place, row in {**rows, "all": total}.items():
        resumed = (row.latest, row.before) if place not in ("at random moments", "all") else ("", "")
        lines.append(f"| {place} | {row.kills} | {row.runs} | {row.identical} | {resumed[0]} | {resumed[1]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/kill_resume"))
    parser.add_argument("--random", type=int, default=30, help="kills at random moments")
    parser.add_argument("--each", type=int, help="at most so many aimed kills at each place")
    parser.add_argument("--only", nargs="*", default=[""], help="places that begin so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dataset", type=Path, help="random kills alone, with the options that follow --")
    parser.add_argument("options", nargs="*")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    rng, rows, start = random.Random(arguments.seed), defaultdict(Row), time.monotonic()
    if arguments.dataset:
        task, aims = Task(arguments.dataset, tuple(arguments.options)), []
        calls = recorded(task, arguments.out / "whole")
    else:
        task = small_task(arguments.out)
        calls = recorded(task, arguments.out / "whole")
        aims = checkpoint_aims(calls, rng) + other_aims(calls, rng)
    seconds, whole = time.monotonic() - start, digests(arguments.out / "whole")
    print(f"{len(calls)} calls write, of them {sum(map(in_part('a checkpoint'), calls))} checkpoints", flush=True)
    for number, aim in enumerate(aims):
        row, out = rows[aim.place], arguments.out / f"aimed {number}"
        if aim.place.startswith(tuple(arguments.only)) and row.runs < (arguments.each or len(aims)):
            play(task, out, aim, row)
            finish(task, out, whole, row)
    if arguments.random:
        rows["at random moments"] = at_random(task, arguments.out, whole, arguments.random, seconds, rng)
    rows = {place: row for place, row in rows.items() if row.kills}
    print(table(rows))
    print(f"\n{STEPS if not arguments.dataset else ''} steps, {time.monotonic() - start:.0f} s", flush=True)
    sys.exit(0 if all(row.identical == row.runs for row in rows.values()) else 1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
