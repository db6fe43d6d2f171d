"""unetr recipe from the data as distributed to the paper's table: real commands, scores computed again by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

from unetr.core.plan.file import read_plan
from unetr.infer.load import model_paths
from unetr.jobs.training.ensemble import unseen_by
from unetr.prepare.paper.recipes import RECIPES
from unetr.train.run.folder import Run
from unetr.train.run.settings import read_settings

Command = Callable[..., Any]
NETWORK = {"patch": 8, "width": 16, "depth": 3, "heads": 2, "mlp_width": 32, "taps": [1, 2, 3], "feature_size": 4}


def shrink(plan: Path) -> None:
    """What a person may do to a recipe's plan: here, so that it trains in a blink."""
    data = yaml.safe_load(plan.read_text())
    data["window"] = [16, 16, 16]
    data["network"] |= NETWORK
    data["training"]["batch_size"] = 1
    plan.write_text(yaml.safe_dump(data))


def dice(prediction: np.ndarray, truth: np.ndarray, values: set[int]) -> float:
    first, second = (np.isin(array, list(values)) for array in (prediction, truth))
    total = first.sum() + second.sum()
    return float(2 * (first & second).sum() / total) if total else float("nan")


def labels_in(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


@pytest.fixture(scope="module")
def btcv(tmp_path_factory: pytest.TempPathFactory, datasets: ModuleType, unetr: Command) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("recipe btcv")
    data, out = datasets.write_btcv(root / "data", cases=2), root / "out"  # as many folds as cases
    options = ["recipe", "btcv", data, "-o", out, "--splits", 2, "--steps", 1]
    planned = unetr(*options)
    assert planned.code == 0, planned
    shrink(out / "plan.yaml")
    done = unetr(*options, "--run", "--json")
    assert done.code == 0, done
    return {"data": data, "out": out, "options": options, "planned": planned, "document": json.loads(done.out)}


def test_the_commands_that_follow_are_printed(btcv: dict[str, Any]) -> None:
    lines = [shlex.split(line) for line in btcv["planned"].out.splitlines()]
    assert [line[:2] for line in lines] == [["unetr", "train"], ["unetr", "train"], ["unetr", "predict"]]
    out = str(btcv["out"])
    assert lines[1] == shlex.split(
        f"unetr train '{out}/dataset.csv' --plan '{out}/plan.yaml' --steps 1 --folds all --no-rules --seed 1 "
        f"-o '{out}/split1'"
    )
    assert lines[2][2:5] == [f"{out}/split0", f"{out}/split1", f"{btcv['data']}/RawData/Testing/img"]


def test_every_case_is_scored_by_the_models_that_did_not_see_it(btcv: dict[str, Any]) -> None:
    out: Path = btcv["out"]
    runs = [Run(out / f"split{split}" / f"fold{fold}") for split in range(2) for fold in range(2)]
    members = unseen_by(runs)
    assert set(members) == {f"img{number:04d}" for number in (1, 2)}
    for case, models in members.items():
        assert len(models) == 2 and {model.parents[1].name for model in models} == {"split0", "split1"}
        assert all(case not in read_settings(Run(model.parent)).training_cases for model in models)
    assert [read_settings(run).seed for run in runs] == [0, 0, 1, 1]
    assert all(run.cache == (out / "shared_cache").absolute() for run in runs)
    assert not any(read_plan(run.plan).postprocess for run in runs)


def test_the_table_has_the_papers_twelve_columns_and_their_mean(btcv: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in btcv["document"]["rows"]}
    assert (
        len(rows) == 13 and rows["liver"]["paper_dice"] == 0.971 and rows["mean of 12 columns"]["paper_dice"] == 0.856
    )
    truths = {f"img{n:04d}": labels_in(btcv["data"] / f"RawData/Training/label/label{n:04d}.nii.gz") for n in (1, 2)}
    found = {case: labels_in(btcv["out"] / "scored" / f"{case}.nii.gz") for case in truths}
    by_value = [np.mean([dice(found[case], truths[case], {value}) for case in truths]) for value in range(1, 14)]
    assert rows["liver"]["dice"] == pytest.approx(by_value[5])
    assert rows["adrenal glands"]["dice"] == pytest.approx((by_value[11] + by_value[12]) / 2)
    columns = [*by_value[:11], (by_value[11] + by_value[12]) / 2]
    assert rows["mean of 12 columns"]["dice"] == pytest.approx(np.mean(columns))
    document = json.loads((btcv["out"] / "scored" / "results.json").read_text())
    assert [row["label"] for row in document["classes"]] == list(RECIPES["btcv"].labels[1:])


def test_models_of_all_splits_are_one_ensemble(
    btcv: dict[str, Any], unetr: Command, datasets: ModuleType, tmp_path: Path
) -> None:
    """`unetr predict split0 split1 SCAN` is the mean of all folds' probabilities, on a scan of a single window."""
    out: Path = btcv["out"]
    voxels = np.random.default_rng(0).integers(-1000, 400, (14, 16, 12)).astype(np.int16)
    scan = datasets.save_scan(tmp_path / "scan.nii.gz", voxels)
    fixed = ["--probabilities", "--engine", "torch", "--precision", "fp32"]
    done = unetr("predict", out / "split0", out / "split1", scan, "-o", tmp_path / "all.nii.gz", *fixed)
    assert done.code == 0 and "4 models" in done.out, done
    models = [path for split in ("split0", "split1") for path in model_paths(out / split)]
    alone = []
    for number, model in enumerate(models):
        assert unetr("predict", model, scan, "-o", tmp_path / f"{number}.nii.gz", *fixed).code == 0
        alone.append(labels_in(tmp_path / f"{number}_probabilities.nii.gz"))
    together = labels_in(tmp_path / "all_probabilities.nii.gz")
    assert np.abs(np.diff(alone, axis=0)).max() > 0.01, "the models differ"
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-4)


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory, datasets: ModuleType, unetr: Command) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("recipe brain")
    data, out = datasets.write_msd(root / "data", "Task01_BrainTumour", 8), root / "out"
    options = ["recipe", "msd-brain", data, "-o", out, "--steps", 2]
    planned = unetr(*options, "--json")
    assert planned.code == 0, planned
    shrink(out / "plan.yaml")
    done = unetr(*options, "--run", "--json")
    assert done.code == 0, done
    commands = json.loads(planned.out)["commands"]
    return {"data": data, "out": out, "commands": commands, "document": json.loads(done.out)}


def test_the_brain_is_scored_on_its_test_cases_by_regions(brain: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in brain["document"]["rows"]}
    assert [row["paper_dice"] for row in rows.values()] == [0.789, 0.585, 0.761, 0.711]
    assert list(rows) == ["WT", "ET", "TC", "all"] and rows["WT"]["paper_hd95_mm"] == 8.266
    (case,) = brain["document"]["cases"]
    settings = read_settings(Run(brain["out"] / "run"))
    assert case not in settings.training_cases + settings.validation_cases
    assert (len(settings.training_cases), len(settings.validation_cases)) == (6, 1)
    truth = labels_in(brain["data"] / "labelsTr" / f"{case}.nii.gz")
    found = labels_in(brain["out"] / "scored" / f"{case}.nii.gz")
    for name, values in {"WT": {1, 2, 3}, "TC": {2, 3}, "ET": {3}}.items():
        assert rows[name]["dice"] == pytest.approx(dice(found, truth, values))
    assert rows["all"]["dice"] == pytest.approx(np.mean([rows[name]["dice"] for name in ("WT", "ET", "TC")]))


def test_the_printed_commands_do_the_same(brain: dict[str, Any], unetr: Command) -> None:
    """The training is there and is only found; predict and evaluate give the recipe's own score."""
    for line in brain["commands"]:
        done = unetr(*shlex.split(line)[1:])
        assert done.code == 0, (line, done)
    document = json.loads((brain["out"] / "predicted" / "results.json").read_text())
    rows = {row["name"]: row["dice"] for row in brain["document"]["rows"]}
    assert {row["label"]: row["metrics"]["dice"]["mean"] for row in document["classes"]} == pytest.approx(
        {name: rows[name] for name in ("WT", "TC", "ET")}, abs=0.02
    )


def test_overlapping_regions_are_scored_as_by_hand(
    brain: dict[str, Any], datasets: ModuleType, unetr, tmp_path
) -> None:
    """Ten voxels in a row: truth 1112233330, prediction 1122233000."""
    truth, prediction = (np.zeros((10, 3, 3), np.uint8) for _ in range(2))
    truth[:, 1, 1], prediction[:, 1, 1] = (list(map(int, row)) for row in ("1112233330", "1122233000"))
    datasets.save_scan(tmp_path / "truth/case.nii.gz", truth)
    datasets.save_scan(tmp_path / "found/case.nii.gz", prediction)
    done = unetr("evaluate", tmp_path / "found", tmp_path / "truth", "--plan", brain["out"] / "plan.yaml", "--json")
    assert done.code == 0, done
    scores = {row["label"]: row["dice"] for row in json.loads(done.out)["scores"]}
    # WT 9 and 7 voxels, 7 in both; TC 6 and 5, 4 in both; ET 4 and 2, 2 in both.
    assert scores == pytest.approx({"WT": 14 / 16, "TC": 8 / 11, "ET": 4 / 6})


def test_the_list_and_wrong_options(unetr: Command, assert_refused, datasets: ModuleType, tmp_path: Path) -> None:
    for arguments in ([], ["--list"]):
        listed = unetr("recipe", *arguments)
        assert listed.code == 0 and all(name in listed.out for name in RECIPES)
    assert set(json.loads(unetr("recipe", "--list", "--json").out)) == set(RECIPES)
    data, out = datasets.write_msd(tmp_path / "data", "Task09_Spleen"), tmp_path / "out"
    assert_refused(unetr("recipe", "acdc", data, "-o", out), 2, "'acdc'", "btcv, msd-spleen, msd-brain")
    assert_refused(unetr("recipe", "btcv"), 2, "-o OUT")
    assert_refused(unetr("recipe", "btcv", data, "-o", out), 2, data, "label 2 is 'missing'", "'right kidney'")
    assert_refused(unetr("recipe", "btcv", tmp_path, "-o", out), 2, "is not a dataset", "BTCV")
    assert_refused(unetr("recipe", "btcv", data, "-o", out, "--splits", 0), 2, "--splits 0")
    assert_refused(unetr("recipe", "msd-spleen", data, "-o", out, "--steps", 1, "--minutes", 1), 2, "both given")
    assert_refused(unetr("recipe", "msd-spleen", data, "-o", out, "--network", "huge"), 2, "'huge'")
    assert not out.exists()
    assert unetr("recipe", "msd-spleen", data, "-o", out, "--network", "pup").code == 0
    assert read_plan(out / "plan.yaml").network.decoder == "pup"
    refused = unetr("recipe", "msd-spleen", data, "-o", out, "--network", "mla")
    assert_refused(refused, 2, "another network than mla")
    refused = unetr("recipe", "msd-spleen", data, "-o", out, "--splits", 1)
    assert refused.code == 2 and "other --splits" in refused.err.splitlines()[-1]
