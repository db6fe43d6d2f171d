"""Kills `unetr predict` on a folder with SIGKILL at random moments, continues it, and compares with a clean run.

    uv run python benchmarks/folder_kill.py ../shared/data/Task04_Hippocampus/imagesTr --kills 20 --out FOLDER

The folder that is killed and continued holds 188 good scans and 12 bad ones of different kinds; the clean run sees
only the good ones. Prints the moments of the kills, what each left behind, and whether the outputs are the same bytes
and the report names exactly the bad ones. Ends with 1 if not.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan
from unetr.model.file.model_file import ModelFile, write_model
from unetr.model.network.build import fresh_weights

NAN = struct.pack("<f", float("nan"))


def put(content: bytes, offset: int, piece: bytes) -> bytes:
    return content[:offset] + piece + content[offset + len(piece) :]


def flat(plain: bytes) -> bytes:
    """The same voxel everywhere."""
    return plain[:352] + bytes(len(plain) - 352)


# What is done to a sound file's bytes, gzipped or not -> the bad file. Names say what a person should be told.
ON_GZIPPED: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda packed: packed[: len(packed) // 2],
    "wrong checksum": lambda packed: put(packed, len(packed) - 8, bytes([packed[-8] ^ 1])),
    "trailing bytes": lambda packed: packed + b"more",
    "empty file": lambda _: b"",
    "text": lambda _: b"this is not a scan\n" * 99,
}
ON_PLAIN: dict[str, Callable[[bytes], bytes]] = {
    "voxels missing": lambda plain: plain[:-1000],
    "no affine": lambda plain: put(plain, 252, struct.pack("<2h", 0, 0)),
    "affine with nan": lambda plain: put(plain, 252, struct.pack("<2h", 0, 1))[:280] + NAN * 12 + plain[328:],
    "gigantic claim": lambda plain: put(plain, 42, struct.pack("<3h", 32767, 32767, 32767)),
    "constant": flat,
    "two dimensional": lambda plain: put(plain, 40, struct.pack("<4h", 2, *struct.unpack_from("<2h", plain, 42), 1)),
}


def make_bad(good: Path, folder: Path) -> set[str]:
    """Writes the bad scans, made from a good one; returns their case ids."""
    packed = good.read_bytes()
    plain = gzip.decompress(packed)
    bad = {name: change(packed) for name, change in ON_GZIPPED.items()}
    bad |= {name: gzip.compress(change(plain), mtime=0) for name, change in ON_PLAIN.items()}
    for name, content in bad.items():
        (folder / f"{name}.nii.gz").write_bytes(content)
    for suffix in (".nii.gz", ".nii"):
        (folder / f"given twice{suffix}").write_bytes(packed if suffix == ".nii.gz" else plain)
    return {*bad, "given twice"}


def make_model(path: Path) -> None:
    """Fresh weights of a small network: what it draws is noise, and the same noise each time."""
    plan = Plan(
        dataset="noise",
        channels=(ChannelPlan(name="MRI"),),
        labels={"background": 0, "front": 1, "back": 2},
        spacing_mm=(1.0, 1.0, 1.0),
        window=(48, 64, 48),
        network=NetworkPlan(
            preset="noise", patch=8, width=24, depth=3, heads=2, mlp_width=48, taps=(1, 2, 3), feature_size=4
        ),
    )
    weights = fresh_weights(plan, seed=1)
    write_model(path, ModelFile(plan, None, {}, "CC0", weights))


def predict(model: Path, scans: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "unetr", "predict", str(model), str(scans), "-o", str(out), *options]


def finished(out: Path) -> int:
    return len(list(out.glob("[!.]*.nii*")))


def kill(arguments: list[str], out: Path, more: int, delay_s: float | None) -> dict[str, int]:
    """Starts the command, waits for its report and so many more outputs than there are, and kills it.

    delay_s: a moment to wait first; None: until a file is being written. Returns what is there afterwards.
    """
    goal, report, started = finished(out) + more, out / "report.json", time.time_ns()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (
        finished(out) >= goal and report.exists() and report.stat().st_mtime_ns > started
    ):
        time.sleep(0.002)
    while delay_s is None and process.poll() is None and not any(out.glob(".unetr-*.gz")):
        pass
    time.sleep(delay_s or 0)
    process.send_signal(signal.SIGKILL)
    ended = process.wait()
    counts = json.loads(report.read_text())["counts"]
    leftovers = len(list(out.glob(".unetr-*")))
    return {"outputs": finished(out), **counts, "leftovers": leftovers, "killed": int(ended == -signal.SIGKILL)}


def digests(out: Path) -> dict[str, str]:
    files = (path for path in out.iterdir() if path.name not in ("report.json", ".unetr_outputs"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def prepare(images: Path, work: Path, good: int) -> tuple[Path, Path, set[str]]:
    """The folder of good scans, the folder of good and bad ones, and the ids of the bad ones."""
    clean, mixed = work / "good scans", work / "all scans"
    sources = sorted(path for path in images.glob("*.nii.gz") if not path.name.startswith("."))[:good]
    if len(sources) < good:
        sys.exit(f"{images}: has {len(sources)} scans; expected {good}")
    for folder in (clean, mixed):
        folder.mkdir(parents=True)
        for path in sources:
            shutil.copy(path, folder)
    return clean, mixed, make_bad(sources[0], mixed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--good", type=int, default=188)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--aimed", type=int, default=5, help="further kills while a file is being written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/folder_kill"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    clean, mixed, bad = prepare(arguments.images, arguments.out, arguments.good)
    model, whole, parts = (arguments.out / name for name in ("model.safetensors", "clean run", "killed run"))
    make_model(model)
    start = time.monotonic()
    subprocess.run(predict(model, clean, whole), check=True, stdout=subprocess.DEVNULL)
    print(f"clean run: {finished(whole)} outputs in {time.monotonic() - start:.1f} s", flush=True)
    rng = random.Random(arguments.seed)
    kills = arguments.kills + arguments.aimed
    aimed = set(rng.sample(range(kills), arguments.aimed))
    for number in range(kills):
        more = rng.randint(0, max(1, 2 * arguments.good // (kills + 2) - 1))
        delay_s = None if number in aimed else rng.uniform(0, 0.15)
        left = kill(predict(model, mixed, parts, "--continue"), parts, more, delay_s)
        print(f"kill {number + 1}{' while writing' if number in aimed else ''}: {left}", flush=True)
    start = time.monotonic()
    last = subprocess.run(predict(model, mixed, parts, "--continue"), capture_output=True, text=True, check=False)
    print(f"last run: {time.monotonic() - start:.1f} s, exit {last.returncode}", flush=True)
    report = json.loads((parts / "report.json").read_text())
    failed = {case["id"] for case in report["cases"] if case["state"] == "failed"}
    same = digests(whole) == digests(parts)
    again = subprocess.run(predict(model, mixed, parts, "--continue"), capture_output=True, text=True, check=False)
    counts = json.loads((parts / "report.json").read_text())["counts"]
    print(f"{report['counts']}; once more: {counts}, exit {again.returncode}")
    for name in sorted(failed):
        print(f"  failed: {next(case['error'] for case in report['cases'] if case['id'] == name)}")
    print(
        f"outputs: {'identical' if same else 'DIFFERENT'}; failed: {'exactly the bad' if failed == bad else 'OTHERS'}"
    )
    sound = same and failed == bad and (last.returncode, again.returncode) == (3, 3)
    sys.exit(0 if sound and counts["skipped"] == len(digests(whole)) else 1)


if __name__ == "__main__":
    main()
