"""Kills `unetr train` with SIGKILL at random moments, resumes it, and compares with a run that was left alone.

    uv run python benchmarks/kill_resume.py DATASET --steps 60 --kills 5 --out FOLDER

Prints the moments of the kills and whether weights, optimiser state, log and model file are the same bits.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def command(dataset: Path, out: Path, steps: int, checkpoint_steps: int, extra: list[str]) -> list[str]:
    return [
        sys.executable, "-m", "unetr", "train", str(dataset), "-o", str(out),
        "--steps", str(steps), "--checkpoint-steps", str(checkpoint_steps), *extra,
    ]  # fmt: skip


def rows(log: Path) -> int:
    return max(0, len(log.read_text().splitlines()) - 1) if log.exists() else 0


def kill_after_rows(arguments: list[str], log: Path, more_rows: int, delay_s: float) -> int:
    """Starts the training, waits for so many more rows in its log and a moment longer, kills it. Returns the rows."""
    goal = rows(log) + more_rows
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and rows(log) < goal:
        time.sleep(0.01)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return rows(log)


def digests(run: Path) -> dict[str, str]:
    files = [
        run / "log.csv",
        run / "validation.csv",
        run / "model.safetensors",
        *sorted((run / "checkpoints").iterdir()),
    ]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files if file.exists()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--checkpoint-steps", type=int, default=7)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/kill_resume"))
    arguments, extra = parser.parse_known_args()  # further options go to unetr train
    shutil.rmtree(arguments.out, ignore_errors=True)
    whole, parts = arguments.out / "whole", arguments.out / "parts"
    budget = (arguments.steps, arguments.checkpoint_steps, extra)
    subprocess.run(command(arguments.dataset, whole, *budget), check=True, stdout=subprocess.DEVNULL)
    rng = random.Random(arguments.seed)
    for kill in range(arguments.kills):
        more = rng.randint(1, max(1, arguments.steps // arguments.kills))
        reached = kill_after_rows(
            command(arguments.dataset, parts, *budget), parts / "log.csv", more, rng.uniform(0, 0.3)
        )
        print(f"kill {kill + 1}: after step {reached}", flush=True)
    subprocess.run(command(arguments.dataset, parts, *budget), check=True, stdout=subprocess.DEVNULL)
    first, second = digests(whole), digests(parts)
    for name in first:
        print(f"{name}: {'identical' if first[name] == second.get(name) else 'DIFFERENT'} ({first[name]})")
    sys.exit(0 if first == second else 1)


if __name__ == "__main__":
    main()
