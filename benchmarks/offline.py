"""What each command does that nobody asked for: Internet sockets, look-ups of names, writes outside its folders.

    python benchmarks/offline.py

Each command runs in a process of its own, with the processes that it starts, watched by Python's audit events and,
where strace may trace, by the system calls themselves. Prints a table and ends with 1 if anything was seen.

The last row is told and not judged: under torchrun the processes of one training speak to each other over torch's own
sockets, and torch asks the machine's name server for the name of 127.0.0.1.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.offline.commands import commands, write_inputs  # noqa: E402
from tests.offline.watch import Seen, has_strace, watched, watched_torchrun  # noqa: E402


def main() -> int:
    """The exit code."""
    traced = has_strace()
    print("system calls are traced" if traced else "no strace: audit events only")
    print(f"{'command':24} {'exit':>4} {'sockets':>8} {'writes outside':>15} {'files here':>11}")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        work, home = Path(folder) / "work", Path(folder) / "home"
        work.mkdir()
        home.mkdir()
        write_inputs(work)
        told = commands(work)
        for name, arguments in told.items():
            seen, said = watched({name: arguments}, work, home, {}, traced)
            seen[name].sockets += seen["start"].sockets
            seen[name].writes += seen["start"].writes
            seen[name].here += seen["start"].here
            bad += _row(name, seen[name], said)
        seen = watched_torchrun(work, home, traced)
        print(
            f"{'train, torchrun':24} {seen.code!s:>4} {len(seen.sockets):8} {len(seen.writes):15} {len(seen.here):11}"
        )
        left = [str(path.relative_to(home)) for path in home.rglob("*") if "compiled" not in path.parts[-2:]]
        print(f"left in the home: {', '.join(sorted(left)) or 'nothing'}, and compiled networks in the last")
        print(f"left in the temporary folder: {len(list((work / 'tmp').rglob('*')))} files")
    return int(bad > 0)


def _row(name: str, seen: Seen, said: str) -> int:
    print(f"{name:24} {seen.code!s:>4} {len(seen.sockets):8} {len(seen.writes):15} {len(seen.here):11}", flush=True)
    for what in (*seen.sockets, *seen.writes, *seen.here):
        print(f"    {what}")
    if seen.code:
        print(said[-2000:])
    return len(seen.sockets) + len(seen.writes) + len(seen.here) + (seen.code != 0)


if __name__ == "__main__":
    sys.exit(main())
