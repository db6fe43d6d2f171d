"""What is right for each generator in `hostile/`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from cases_tools import Check, Desk, Finding
from measured import measure

# The generators of plans replace these words.
_PLAN = "labels: {background: 0, organ: 1, core: 2}"
_LIMIT_MB = 600
_ALLOWED = 1.15


def tiny_model(desk: Desk) -> Path:
    """A folder with tiny.safetensors and tiny.onnx: three labels, one tap, a window of 24, width 32."""
    folder = desk.models / "tiny"
    if not folder.exists():
        folder.mkdir(parents=True)
        _write_tiny(folder / "tiny.safetensors")
        said = desk.unetr("export", folder / "tiny.safetensors", "--to", "onnx", "-o", folder / "tiny.onnx")
        if said.code:
            raise SystemExit(f"tiny.onnx: {said.last()}")
    target = desk.work / "tiny"
    shutil.copytree(folder, target)
    return target


def _write_tiny(path: Path) -> None:
    from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan
    from unetr.model.file.model_file import ModelFile, write_model
    from unetr.model.network.build import fresh_weights

    plan = Plan(
        dataset="tiny",
        channels=(ChannelPlan(name="CT"),),
        labels={"background": 0, "organ": 1, "core": 2},
        spacing_mm=(1.0, 1.0, 1.0),
        window=(24, 24, 24),
        network=NetworkPlan(
            patch=8, width=32, depth=2, heads=2, mlp_width=64, taps=(2,), feature_size=4, decoder="nup"
        ),
    )
    write_model(path, ModelFile(plan, None, {}, "CC0", fresh_weights(plan)))


def models(desk: Desk) -> Iterator[Finding]:
    tiny = tiny_model(desk)
    said = desk.make("hostile/models.py", str(tiny / "tiny.safetensors"), str(desk.work / "out"))
    sound = {"ok", "metrics_list", "metrics_nan", "metrics_str", "metrics_hugeint", "licence_html", "shape_float"}
    sound |= {"mirror_dup", "heads_32", "offs_dict", "zero_size_many"}  # accepted or refused, either in one line
    lines = [line for line in said.splitlines() if "MB " in line]
    yield Finding("all were tried", len(lines) >= 49, f"{len(lines)} variants")
    for line in lines:
        name, seconds, memory = line.split()[:3]
        quick = float(seconds.rstrip("s")) < 2 and int(memory.rstrip("MB")) < 1000
        yield Finding(name, "!!" not in line and quick and ("refused" in line or name in sound), line[19:130])


def not_finite(desk: Desk) -> Iterator[Finding]:
    tiny = tiny_model(desk)
    desk.make("hostile/not_finite.py", str(tiny))
    desk.make("scans/16_spacing_tie.py")
    made = sorted((tiny / "m").glob("*.safetensors"))
    yield Finding("all were made", len(made) == 5, f"{len(made)} models")
    for model in made:
        said = desk.unetr("predict", model, desk.work / "in/scan.nii.gz", "-o", desk.work / f"{model.stem}.nii.gz")
        right = said.refused or (model.stem == "overlap" and said.code == 0)
        yield Finding(
            model.stem, right and not (said.refused and (desk.work / f"{model.stem}.nii.gz").exists()), said.last()
        )


def plans(desk: Desk) -> Iterator[Finding]:
    from unetr.core.plan.file import plan_to_yaml
    from unetr.model.file.model_file import read_model

    text = plan_to_yaml(read_model(tiny_model(desk) / "tiny.safetensors").plan)
    if _PLAN not in text:
        raise SystemExit("plans are written in another form; the generator's words are not in them")
    (desk.work / "plan.yaml").write_text(text)
    desk.make("hostile/plans.py", str(desk.work / "plan.yaml"))
    desk.make("datasets/08_stale.py")
    for name in ("y5", "y6", "lol", "dup", "tag", "deep", "nan", "surr", "taps"):
        command = [sys.executable, "-P", "-m", "unetr", "train", str(desk.work / "in"), "-o", str(desk.work / name)]
        done = measure([*command, "--plan", str(desk.work / f"{name}.yaml"), "--steps", "5"], must_succeed=False)
        right = done.code == 2 and "Traceback" not in done.stderr and done.peak_mb < 1000 and done.wall_s < 20
        last = (done.stderr.strip().splitlines() or [""])[-1].replace(str(desk.work), "")
        yield Finding(
            f"{name}.yaml", right, f"exit {done.code}, {done.peak_mb:.0f} MB, {done.wall_s:.1f} s: {last[:90]}"
        )
    yield Finding("no code ran", not list(desk.work.rglob("PWNED")), "")


def onnx_external(desk: Desk) -> Iterator[Finding]:
    tiny = tiny_model(desk)
    said = desk.make("hostile/onnx_external.py", str(tiny))
    for line in said.splitlines():
        if line.startswith(("ext.onnx", "ext2.onnx")):
            yield Finding(" ".join(line.split()[:2]), "refused" in line, line[:140])
    yield Finding("the original runs", "original" in said.splitlines()[-1], said.splitlines()[-1][:140])


def headers(desk: Desk) -> Iterator[Finding]:
    said = desk.make("hostile/headers.py", str(desk.work / "out"))
    for line in said.splitlines():
        name, _, came = line.partition(" ")
        if not name.endswith((".nrrd", ".mha")):
            yield Finding("chatter", False, line[:110])
            continue
        clean = "<ESC>" not in line and "<BEL>" not in line
        yield Finding(name, "!!" not in line and clean, came.strip()[:110])


def scan_bomb(desk: Desk) -> Iterator[Finding]:
    bomb = desk.work / "bomb.nii.gz"
    desk.make("hostile/scan_bomb.py", str(bomb))
    yield from _within_limit(desk, bomb, "scan_bomb")


def zips(desk: Desk) -> Iterator[Finding]:
    desk.make("hostile/zips.py", cwd=desk.work)
    for name in ("bz2bomb.zip", "defl.zip"):
        yield from _within_limit(desk, desk.work / name, name)


def _within_limit(desk: Desk, scan: Path, name: str) -> Iterator[Finding]:
    command = [
        sys.executable,
        "-P",
        "-m",
        "unetr",
        "predict",
        "hippocampus",
        str(scan),
        "-o",
        str(desk.work / "o.nii.gz"),
    ]
    done = measure([*command, "--memory-limit", f"{_LIMIT_MB}MB"], must_succeed=False)
    share = done.peak_mb / _LIMIT_MB
    right = done.code == 2 and share < _ALLOWED and "Traceback" not in done.stderr
    last = (done.stderr.strip().splitlines() or [""])[-1].replace(str(desk.work), "")
    yield Finding(name, right, f"exit {done.code}, {share:.2f} of the limit, {done.wall_s:.1f} s: {last[:90]}")


HOSTILE: dict[str, Check] = {
    "hostile/models": models,
    "hostile/not_finite": not_finite,
    "hostile/plans": plans,
    "hostile/onnx_external": onnx_external,
    "hostile/headers": headers,
    "hostile/scan_bomb": scan_bomb,
    "hostile/zips": zips,
}
