"""Coverage-guided fuzzing of the readers, with atheris (dependency group `fuzz`; it installs on Linux).

    uv run --group fuzz python fuzz/run.py [TARGET ...] [--seconds 4] [--keep FOLDER]

Each target runs in a process of its own for so many seconds; --keep is a folder for what was found interesting, from
which a later run goes on, and for inputs that were finds. Exit code 1 where there was a find: its error and its bytes
are printed, and it belongs into a test. An input may take 10 seconds and the process 2 GB.
"""

from __future__ import annotations

import argparse
import base64
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS_AN_INPUT = 10
MOST_MB = 2048
LARGEST_INPUT = 300_000
_SHOWN = 3000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=4, help="for each target")
    parser.add_argument("--keep", type=Path, help="folder of inputs, made where it does not exist")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        fuzz(asked.one, asked.keep, asked.seconds)
        return 0
    from targets import TARGETS

    finds = 0
    with tempfile.TemporaryDirectory() as name:
        for target in asked.targets or TARGETS:
            finds += fuzz_in_a_process(target, (asked.keep or Path(name)) / target, asked.seconds)
    print(f"{finds} targets with a find")
    return int(finds > 0)


def fuzz_in_a_process(target: str, folder: Path, seconds: int) -> int:
    """1 where the target had a find, else 0."""
    (folder / "inputs").mkdir(parents=True, exist_ok=True)
    before = set(folder.glob("find-*"))
    command = [sys.executable, __file__, "--one", target, "--seconds", str(seconds), "--keep", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace").splitlines() + done.stdout.decode(errors="replace").splitlines()
    runs = next((line for line in reversed(said) if line.startswith(("Done ", "stat::number_of_executed_units"))), "")
    print(f"{target}: {runs or f'ended with {done.returncode}'}", flush=True)
    if done.returncode == 0:
        return 0
    print("\n".join(line for line in said if not line.startswith(("INFO", "#")))[-_SHOWN:])
    for find in set(folder.glob("find-*")) - before:
        print(f"{find}: {base64.b64encode(find.read_bytes()[:_SHOWN]).decode()}", flush=True)
    return 1


def fuzz(name: str, folder: Path, seconds: int) -> None:
    """Does not return: the fuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["unetr", "pydicom", "nibabel", "targets"]):
        import targets

        import unetr.io
        import unetr.model.open_model
        import unetr.prepare.datasets.cases  # noqa: F401
    target = targets.TARGETS[name]
    targets.prepare(name)
    inputs = folder / "inputs"
    for index, seed in enumerate(target.seeds()):
        (inputs / f"seed-{index}").write_bytes(seed)
        targets.feed_in(target, seed, folder / "work")  # imports happen now, and a seed that is a find is told
    options = [
        f"-max_total_time={seconds}", f"-timeout={SECONDS_AN_INPUT}", f"-rss_limit_mb={MOST_MB}",
        f"-max_len={LARGEST_INPUT}", f"-artifact_prefix={folder}/find-", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup(["fuzz", *options, str(inputs)], lambda data: targets.feed_in(target, data, folder / "work") and None)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
