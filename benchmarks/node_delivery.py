"""Kills `unetr node`, its children and a real Orthanc in every state, and looks at what is in Orthanc in the end.

    uv run python benchmarks/node_delivery.py --times 10 [--away 300] [--only WORDS …]

Each trial sends a study of its own by dcmtk's storescu, brings something down by SIGKILL or by a proxy between the node
and Orthanc, brings it up again, and waits until the job is delivered. Then every acknowledged instance must be kept,
there must be one job and one SEG in Orthanc, and its file must have the bytes of the node's own. A row of the table is
one kind of fault; `longest` is the time from the return of what was down to the delivery. A PACS is away once, for
--away seconds and a little more, in each way at the same time; each of these has an Orthanc and a node of its own.
Exits 1 where anything is not as it must be. Needs Orthanc, dcmtk and Linux; the rows of the full disk need to be root,
for a tmpfs.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.node.delivery.fault_proxy import fault_proxy  # noqa: E402
from tests.node.delivery.running_node import RunningNode, Study, problems, until  # noqa: E402
from tests.orthanc import Orthanc, running_orthanc  # noqa: E402

from node_faults import FAULTS, Trial  # noqa: E402
from unetr.node.delivery.outbox import OutboxOptions  # noqa: E402

LONGEST_S = 60.0
_DISK = "48m"
_AWAY = "PACS away"


def tried(name: str, trial: Trial) -> tuple[float, list[str]]:
    """Seconds from the return to the delivery, and what is wrong."""
    try:
        FAULTS[name](trial)
        back = time.monotonic()
        for study in (trial.study, *trial.also):
            until(trial.node.in_state(study, "delivered"), "delivered", 3 * LONGEST_S)
        took = time.monotonic() - back
        wrong = [one for study in (trial.study, *trial.also) for one in problems(trial.node, trial.pacs, study)]
        return took, wrong + ([f"{took:.0f} s"] if took > LONGEST_S else [])
    except (TimeoutError, AssertionError, RuntimeError) as error:
        trial.recover()
        return float("nan"), [str(error)]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def row(name: str, times: int, away_s: float, folder: Path, pacs: Orthanc) -> bool:
    """Makes the trials of one fault and prints its row; whether all is as it must be."""
    wrong: list[str] = []
    longest, good = 0.0, 0
    with fault_proxy(pacs.url) as proxy:
        node = RunningNode(folder / "node", f"{proxy.url}/dicom-web")
        node.start()
        try:
            warm = Study(folder / "warm", random.randrange(1 << 30))
            node.send(warm.folder)
            until(node.in_state(warm, "delivered"), "delivered, without any fault", 180)
            for number in range(times):
                place = folder / f"{number}"
                study = Study(place / "study", random.randrange(1 << 30))
                took, found = tried(name, Trial(node, pacs, proxy, study, away_s, place))
                longest = max(longest, took)
                good += not found
                wrong += found
                if not found and name.startswith("full disk"):
                    subprocess.run(["rm", "-r", str(place)], check=True)
        finally:
            node.kill()
    print(f"| {name} | {times} | {good} | {longest:.1f} s | {'; '.join(wrong) or '-'} |", flush=True)
    return not wrong


def row_of_its_own(name: str, away_s: float, folder: Path) -> bool:
    with running_orthanc(folder / "orthanc") as pacs:
        # Not so long that it always comes back just before it is looked at.
        return row(name, 1, away_s + random.uniform(0, OutboxOptions().probe_s), folder, pacs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--away", type=float, default=20.0, help="seconds for which the PACS is away")
    parser.add_argument("--only", nargs="*", default=[""], help="faults whose names have one of these words")
    chosen = parser.parse_args()
    print("| fault | trials | kept, once, equal bytes | longest | what was wrong |\n|---|---|---|---|---|")
    good, names = True, [name for name in FAULTS if any(one in name for one in chosen.only)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with running_orthanc(folder / "orthanc") as pacs:
            for index, name in enumerate(name for name in names if not name.startswith(_AWAY)):
                place = folder / str(index)
                with small_disk(place) if name.startswith("full disk") else nullcontext():
                    good &= row(name, chosen.times, chosen.away, place, pacs)
        away = [name for name in names if name.startswith(_AWAY)]
        with ThreadPoolExecutor(len(away) or 1) as pool:
            done = [
                pool.submit(row_of_its_own, name, chosen.away, folder / f"away{at}") for at, name in enumerate(away)
            ]
            good &= all(one.result() for one in done)
    print(f"\nload of the machine, of its last 15 minutes: {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
