"""Rules are kept only where they help out of fold; the label files and the models then have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.train.listener import Listener

from unetr.core.plan.file import read_plan
from unetr.core.plan.schema import Plan, PostprocessPlan, Region
from unetr.core.space.volume import Volume
from unetr.evaluation.pairs import Pair
from unetr.evaluation.results import read_results
from unetr.io import read_label, write_volume
from unetr.jobs.training.crossval import fold_runs, gather_folds
from unetr.jobs.training.rule_trials import try_rules
from unetr.model.file.model_file import ModelFile, read_model, write_model
from unetr.model.network.build import fresh_weights
from unetr.prepare.datasets.cases import Dataset, open_dataset
from unetr.train.run.folder import Run
from unetr.train.run.settings import Settings, write_settings

PlanWith = Callable[..., Plan]
LABELS = {"background": 0, "ball": 1, "shell": 2}


def block(shape: tuple[int, int, int], low: int, high: int, value: int) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[low:high, low:high, low:high] = value
    return labels


def pair(folder: Path, case: str, prediction: np.ndarray, truth: np.ndarray) -> Pair:
    for kind, labels in (("prediction", prediction), ("truth", truth)):
        write_volume(folder / kind / f"{case}.nii.gz", Volume(labels[None], np.eye(4)))
    return Pair(case, folder / "prediction" / f"{case}.nii.gz", folder / "truth" / f"{case}.nii.gz")


def pairs_with_specks(folder: Path, count: int = 4) -> list[Pair]:
    """Class 1 with a speck far away in each case; class 2 in two true parts, found exactly."""
    found = []
    for index in range(count):
        truth = block((20, 20, 20), 2, 8, 1)
        truth[12:16, 2:5, 2:5] = 2
        truth[12:16, 12:15, 2:5] = 2
        prediction = truth.copy()
        prediction[17 : 18 + index % 2, 17, 17] = 1
        found.append(pair(folder, f"case{index}", prediction, truth))
    return found


def test_a_rule_that_helps_is_kept_and_one_that_harms_is_not(tmp_path: Path, plan_with: PlanWith) -> None:
    trials = try_rules(pairs_with_specks(tmp_path), plan_with())
    kept = {trial.target: trial.rule for trial in trials if trial.kept}
    assert kept == {"ball": PostprocessPlan(largest_component=True)}
    largest = next(t for t in trials if t.target == "shell" and t.rule.largest_component)
    # Two equal parts of 36 voxels, one removed: Dice 2 * 36 / (36 + 72) in place of 1.
    assert largest.gain.mean == pytest.approx(2 / 3 - 1)
    specks = next(t for t in trials if t.target == "shell" and not t.rule.largest_component)
    assert specks.rule.minimum_volume_ml == pytest.approx(0.5 * 72 / 1000)
    # Each of the two parts is exactly half of the smallest true volume, so none is a speck.
    assert specks.gain.mean == 0


def test_a_rule_that_changes_nothing_is_not_kept(tmp_path: Path, plan_with: PlanWith) -> None:
    truth = block((12, 12, 12), 2, 8, 1)
    trials = try_rules([pair(tmp_path, f"c{i}", truth, truth) for i in range(3)], plan_with())
    assert trials and not any(trial.kept for trial in trials)


def test_removing_what_is_not_there_at_all_counts_as_help(tmp_path: Path, plan_with: PlanWith) -> None:
    """Truth without class 2, prediction with a speck of it: 0 before, undefined after, so 1 is what it gains."""
    truth = block((20, 20, 20), 2, 8, 1)
    with_shell = truth.copy()
    with_shell[12:16, 12:16, 12:16] = 2
    speck = truth.copy()
    speck[18, 18, 18] = 2
    pairs = [pair(tmp_path, f"absent{i}", speck, truth) for i in range(3)]
    pairs += [pair(tmp_path, "present", with_shell, with_shell)]
    trials = [trial for trial in try_rules(pairs, plan_with()) if trial.target == "shell"]
    assert trials[-1].kept and not trials[-1].rule.largest_component
    assert trials[-1].gain.mean == pytest.approx(3 / 4)


@pytest.mark.fault("lossless turn of a label")
def test_truths_in_another_orientation_are_turned(tmp_path: Path, plan_with: PlanWith) -> None:
    """The gains of rules are those of truths stored as the predictions are."""
    pairs = pairs_with_specks(tmp_path)
    before = try_rules(pairs, plan_with())
    for number, found in enumerate(pairs):
        image = nibabel.load(found.truth)
        turn = np.array([[[1, -1], [2, 1], [0, -1]], [[0, -1], [1, 1], [2, 1]]][number % 2])
        nibabel.save(image.as_reoriented(turn), found.truth)
    after = try_rules(pairs, plan_with())
    assert [(trial.rule, trial.gain.mean) for trial in after] == [(trial.rule, trial.gain.mean) for trial in before]


def test_regions_are_compared_as_the_file_shows_them(tmp_path: Path, plan_with: PlanWith) -> None:
    regions = (Region(name="whole", labels=(1, 2), written_as=1), Region(name="core", labels=(2,), written_as=2))
    truth = block((20, 20, 20), 2, 10, 1)
    truth[4:7, 4:7, 4:7] = 2
    prediction = truth.copy()
    prediction[17, 17, 17] = 1
    trials = try_rules([pair(tmp_path, f"c{i}", prediction, truth) for i in range(3)], plan_with(regions=regions))
    assert {trial.target for trial in trials if trial.kept} == {"whole"}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "data"
    for found in pairs_with_specks(tmp_path / "made"):
        labels = read_label(found.truth)
        write_volume(folder / "labels" / f"{found.case}.nii.gz", labels)
        write_volume(folder / "images" / f"{found.case}.nii.gz", labels.with_data(labels.data.astype(np.float32)))
    (folder / "labels.json").write_text(json.dumps(LABELS))
    return open_dataset(folder)


def finished_runs(folder: Path, dataset: Dataset, plan: Plan, made: Path) -> list[Run]:
    """Two folds as training leaves them, with predictions that have specks."""
    runs = fold_runs(folder, 2)
    weights = fresh_weights(plan)
    ids = [case.id for case in dataset.labelled]
    for index, run in enumerate(runs):
        validation = tuple(ids[index::2])
        run.folder.mkdir(parents=True)
        write_settings(
            run,
            Settings(
                dataset=str(dataset.root), preset="tiny", fold=index, folds=2, seed=0, steps=1, minutes=None,
                training_cases=tuple(set(ids) - set(validation)), validation_cases=validation,
            ),
        )  # fmt: skip
        write_model(run.model, ModelFile(plan, None, {"fold": index}, "CC0", weights))
        for case in validation:
            write_volume(run.predictions / f"{case}.nii.gz", read_label(made / "prediction" / f"{case}.nii.gz"))
    return runs


def test_gathering_folds(tmp_path: Path, dataset: Dataset, plan_with: PlanWith) -> None:
    folder, plan = tmp_path / "run", plan_with()
    runs = finished_runs(folder, dataset, plan, tmp_path / "made")
    seen: list[tuple[int, int]] = []
    results = gather_folds(folder, dataset, runs, Listener(on_stage=lambda _, done, of: seen.append((done, of))))
    assert seen[-1] == (4, 4)
    assert results.mean_dice == 1.0, "the specks are gone"
    assert read_results(folder / "results.json").cases == tuple(f"case{i}" for i in range(4))
    rules = {"ball": PostprocessPlan(largest_component=True)}
    assert read_plan(folder / "plan.yaml").postprocess == rules
    for index, run in enumerate(runs):
        model = read_model(run.model)
        assert model.plan == plan.model_copy(update={"postprocess": rules})
        assert model.metrics == {"fold": index}
    written = read_label(folder / "out_of_fold" / "case0.nii.gz")
    np.testing.assert_array_equal(written.data, read_label(tmp_path / "made" / "truth" / "case0.nii.gz").data)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    gather_folds(folder, dataset, runs, Listener())
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_models_of_a_cross_validation_are_an_ensemble(
    tmp_path: Path, dataset: Dataset, plan_with: PlanWith
) -> None:
    from unetr.infer.load import load

    folder = tmp_path / "run"
    runs = finished_runs(folder, dataset, plan_with(), tmp_path / "made")
    gather_folds(folder, dataset, runs, Listener())
    segmenter = load(folder, engine="torch", device="cpu")
    assert segmenter.choice.startswith("2 models")
    assert segmenter.plan.postprocess == {"ball": PostprocessPlan(largest_component=True)}


def test_rules_are_not_looked_for_where_they_are_not_wanted(
    tmp_path: Path, dataset: Dataset, plan_with: PlanWith
) -> None:
    folder = tmp_path / "run"
    runs = finished_runs(folder, dataset, plan_with(), tmp_path / "made")
    results = gather_folds(folder, dataset, runs, Listener(), rules=False)
    assert results.mean_dice < 1.0, "the specks are still there"
    assert all(read_model(run.model).plan.postprocess == {} for run in runs)


def test_an_ensemble_keeps_the_rules_that_all_members_have(tmp_path: Path, plan_with: PlanWith) -> None:
    """Cross-validations with different seeds may have found different rules."""
    from unetr.infer.load import load

    largest, specks = PostprocessPlan(largest_component=True), PostprocessPlan(minimum_volume_ml=0.5)
    found = [{"ball": largest, "shell": largest}, {"ball": largest, "shell": specks}, {"ball": largest}]
    paths = []
    for index, rules in enumerate(found):
        plan = plan_with(postprocess=rules)
        weights = fresh_weights(plan)
        paths.append(tmp_path / f"{index}.safetensors")
        write_model(paths[-1], ModelFile(plan, None, {}, "CC0", weights))
    assert load(paths, engine="torch", device="cpu").plan.postprocess == {"ball": largest}
    assert load(paths[:1], engine="torch", device="cpu").plan.postprocess == found[0]
