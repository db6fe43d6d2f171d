"""What is right for each generator in `datasets/`."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from cases_tools import Check, Desk, Finding, Said

_DICE = 0.90


def _train(desk: Desk, data: Path, run: str, *options: str) -> Said:
    """A short training; --steps 20 unless told."""
    steps = () if "--steps" in options or "--minutes" in options else ("--steps", "20")
    return desk.unetr("train", data, "-o", desk.work / run, "--preset", "tiny", *steps, *options)


def _mean_dice(said: Said, run: Path) -> float:
    import json

    found = (
        json.loads((run / "validation/results.json").read_text()) if (run / "validation/results.json").exists() else {}
    )
    if "mean_dice" in found:
        return float(found["mean_dice"])
    numbers = re.findall(r"mean\s.*?(\d\.\d{3,})", said.text)
    return float(numbers[0]) if numbers else float("nan")


def _prepared(run: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    images = sorted(run.glob("cache/*.image.npy"))
    return [(np.load(path), np.load(str(path).replace(".image.", ".label."))) for path in images]


def hot_spots(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/01_hot_spots.py")
    said = _train(desk, desk.work / "in", "run", "--steps", "300")
    dice = _mean_dice(said, desk.work / "run")
    yield Finding("--preset tiny --steps 300", dice >= _DICE, f"Dice {dice:.4f}; {said.seconds:.0f} s")


def mask_channel(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/02_mask_channel.py")
    said = _train(desk, desk.work / "in", "run")
    stds = [float(image[1].std()) for image, _ in _prepared(desk.work / "run")]
    yield Finding("second channel", said.code == 0 and len(stds) > 0 and min(stds) > 0, f"deviations {stds}")


def finetune(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/04_finetune.py")
    desk.make("datasets/05b_micro.py", str(desk.work / "micro"))
    for start in ("ct", "mr"):
        _train(desk, desk.work / f"in/{start}", start, "--steps", "10")
    tries = (("ct", desk.work / "in/mr"), ("mr", desk.work / "in/ct"), ("mr", desk.work / "micro"))
    for start, data in tries:
        run = f"{start}-to-{data.name}"
        said = _train(desk, data, run, "--steps", "10", "--from", str(desk.work / start / "model.safetensors"))
        arrays = _prepared(desk.work / run)
        sound = bool(arrays) and all(
            image.std() > 1e-3 and min(image.shape[1:]) > 4 and (label > 0).any() for image, label in arrays
        )
        yield Finding(run, said.refused or (said.code == 0 and sound), said.last())


def lesions(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/05_lesions_vanish.py")
    said = _train(desk, desk.work / "in", "run", "--minutes", "0.3")
    kept = [int((label > 0).sum()) for _, label in _prepared(desk.work / "run")]
    right = said.refused or (said.code == 0 and len(kept) == 6 and min(kept) > 0) or said.mentions("lesion", "lost")
    yield Finding("--minutes 0.3", right, f"labelled voxels {kept}; {said.last()}")


def ignore_in_plan(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/06_ignore_in_plan.py")
    data = desk.work / "in"
    (data / "labels.json").write_text('{"background": 0, "a": 1, "ignore": 255}')
    said = _train(desk, data, "run")
    ignored = [int((label == -1).sum()) for _, label in _prepared(desk.work / "run")]
    yield Finding("labels.json", said.code == 0 and min(ignored, default=0) > 0, f"{said.last()} ignored {ignored}")
    plan = yaml.safe_load((desk.work / "run/plan.yaml").read_text())
    (data / "labels.json").write_text('{"background": 0, "a": 1}')
    (desk.work / "plan.yaml").write_text(yaml.safe_dump(plan))
    said = desk.unetr("train", data, "-o", desk.work / "by-plan", "--plan", desk.work / "plan.yaml", "--steps", "10")
    yield Finding("ignore_label: 255 in the plan", said.code == 0 and plan["ignore_label"] == 255, said.last())


def ignore_values(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/07_ignore_values.py")
    for value in (65535, 0, 1):
        said = _train(desk, desk.work / f"in/i{value}", f"run{value}")
        yield Finding(f"ignore {value}", said.refused or (value == 65535 and said.code == 0), said.last())


def stale(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/08_stale.py")
    data, run = desk.work / "in", desk.work / "run"
    _train(desk, data, "run")
    before = (run / "model.safetensors").read_bytes()
    data.rename(desk.work / "moved")
    said = _train(desk, desk.work / "moved", "run")
    same = (run / "model.safetensors").read_bytes() == before
    yield Finding("moved, same bytes", said.code == 0 and same, said.last())
    (desk.work / "moved").rename(data)
    desk.make("datasets/08_stale.py", str(data), "correct")
    said = _train(desk, data, "run")
    trained_again = said.code == 0 and (run / "model.safetensors").read_bytes() != before
    yield Finding("finished, labels changed", said.refused or trained_again, said.last())
    (data / "images/c5.nii.gz").unlink()
    (data / "labels/c5.nii.gz").unlink()
    said = _train(desk, data, "run")
    yield Finding("finished, case removed", said.refused, said.last())


def two_processes(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/08_stale.py")
    command = [sys.executable, "-P", "-m", "unetr", "train", str(desk.work / "in"), "-o", str(desk.work / "run")]
    command += ["--preset", "tiny", "--minutes", "0.4"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(6)
    second = desk.unetr(*command[4:])
    yield Finding("the same train twice", second.code in (2, 4) and not second.traceback, second.last())
    yield Finding("the first of them", first.wait() == 0, f"exit {first.returncode}")
    killed = subprocess.Popen([*command[:7], str(desk.work / "run2"), *command[8:]], stderr=subprocess.DEVNULL)
    time.sleep(8)
    killed.kill()
    killed.wait()
    again = desk.unetr(*command[4:6], "-o", desk.work / "run2", "--preset", "tiny", "--minutes", "0.4")
    yield Finding("after kill -9", again.code == 0, again.last())


def dataset_json(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/10_dataset_json_ignored.py")
    key = _train(desk, desk.work / "in/key", "key", "--steps", "5")
    count = len(_prepared(desk.work / "key"))
    yield Finding("dataset", key.code == 0 and (count == 4 or key.mentions("dataset")), f"{count} cases")
    num = desk.unetr("check", desk.work / "in/num")
    yield Finding("numTraining", num.mentions("numTraining"), num.last())
    fold = desk.unetr("check", desk.work / "in/fold")
    _train(desk, desk.work / "in/fold", "fold", "--steps", "5", "--folds", "2")
    validated = sorted(path.name[:2] for path in (desk.work / "fold/validation").glob("c*.nii.gz"))
    said_so = "fold" in fold.text.replace(str(desk.work), "").replace("in/fold", "")
    right = said_so or validated == ["c0", "c2", "c4"]
    yield Finding("fold", right, f"validated {validated}; {fold.last()}")
    unit = desk.unetr("plan", desk.work / "in/unit", "-o", desk.work / "unit")
    plan = yaml.safe_load((desk.work / "unit/plan.yaml").read_text())
    channel = plan["channels"][0]
    right = channel["normalisation"] != "zscore" or unit.mentions("rescale_to_0_1")
    yield Finding("rescale_to_0_1", right, str(channel)[:100])


def duplicates(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/11_duplicate_dtype.py")
    said = desk.unetr("check", desk.work / "in")
    yield Finding("int16 and float32", said.mentions("c0", "zz"), said.last())


def nnunet_v1(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/12_nnunet_v1.py")
    said = desk.unetr("check", desk.work / "in")
    right = said.code == 0 or (said.mentions("nnU-Net v1") and not said.traceback)
    yield Finding("v1 names", right, said.last())


def byte_order_mark(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/13_bom.py")
    said = _train(desk, desk.work / "in", "run", "--steps", "5")
    yield Finding("labels.json", said.code == 0, said.last())


def turned(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/14_las_ras.py")
    data = desk.unetr("check", desk.work / "in/data")
    yield Finding("check", data.code == 0, data.last())
    said = _train(desk, desk.work / "in/data", "run", "--steps", "5")
    yield Finding("train", said.code == 0, said.last())
    scored = desk.unetr("evaluate", desk.work / "in/p", desk.work / "in/t")
    yield Finding("evaluate", scored.code == 0 or (scored.code == 3 and scored.mentions("c2")), scored.last())


def rare_fold(desk: Desk) -> Iterator[Finding]:
    desk.make("datasets/16_rare_fold.py")
    said = _train(desk, desk.work / "in", "run", "--steps", "5")
    labels = [int((label == 2).sum()) for _, label in _prepared(desk.work / "run")]
    yield Finding("label 2 in one case", said.mentions("2", "fold") or said.refused, f"{labels}; {said.last()}")


DATASETS: dict[str, Check] = {
    "datasets/01_hot_spots": hot_spots,
    "datasets/02_mask_channel": mask_channel,
    "datasets/04_finetune, 05b_micro": finetune,
    "datasets/05_lesions_vanish": lesions,
    "datasets/06_ignore_in_plan": ignore_in_plan,
    "datasets/07_ignore_values": ignore_values,
    "datasets/08_stale": stale,
    "datasets/09_two_processes": two_processes,
    "datasets/10_dataset_json_ignored": dataset_json,
    "datasets/11_duplicate_dtype": duplicates,
    "datasets/12_nnunet_v1": nnunet_v1,
    "datasets/13_bom": byte_order_mark,
    "datasets/14_las_ras": turned,
    "datasets/16_rare_fold": rare_fold,
}
