"""What preparation did to a case is said: constant channels, lost labels, degenerate grids; small cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.errors import InputError
from unetr.prepare.cache import build_cache, cache_problems
from unetr.prepare.checks.check import check_dataset
from unetr.prepare.datasets.cases import open_dataset
from unetr.prepare.datasets.folds import split_folds
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.planning.planner import make_plan
from unetr.prepare.prepared import prepare_case, prepared_problems, refuse

LOST = pytest.mark.fault("lost in preparation")


def plan_for(dataset, **changes):
    plan = make_plan(dataset, measure_fingerprint(dataset), preset="tiny")
    return Plan.model_validate(plan.model_dump() | changes)


def write(folder, save_scan, cases, spacing=1.0, channels=1):
    """cases: pairs of image [X, Y, Z] (or one per channel) and label."""
    affine = np.diag([spacing] * 3 + [1.0])
    for number, (images, label) in enumerate(cases):
        for index, image in enumerate(images if channels > 1 else [images]):
            name = f"c{number}_{index:04d}" if channels > 1 else f"c{number}"
            save_scan(folder / f"images/{name}.nii.gz", image.astype(np.float32), affine)
        save_scan(folder / f"labels/c{number}.nii.gz", label, affine)
    return open_dataset(folder)


def noise(seed, shape=(24, 24, 24)):
    return np.random.default_rng(seed).normal(100, 10, shape)


def dots(places, shape=(24, 24, 24)):
    label = np.zeros(shape, np.uint8)
    for x, y, z in places:
        label[x : x + 2, y, z] = 1
    return label


def ball(centre=12, radius=6, shape=(24, 24, 24)):
    return (((np.indices(shape) - centre) ** 2).sum(0) < radius**2).astype(np.uint8)


@LOST
def test_small_lesions_on_a_coarse_grid_are_refused_where_they_are_the_rule(tmp_path, save_scan):
    cases = [(noise(n), dots([(5 + n, 9, 9), (15, 3, 4 + n), (9, 18, 18)])) for n in range(5)]
    dataset = write(tmp_path, save_scan, cases)
    assert prepared_problems(dataset, plan_for(dataset)) == []
    coarse = plan_for(dataset, spacing_mm=(3.0, 3.0, 3.0))
    (problem,) = prepared_problems(dataset, coarse)
    assert (problem.severity, problem.code, problem.case) == ("error", "lost_label", None)
    assert "of 5 cases" in problem.message and "label label_1" in problem.message
    with pytest.raises(InputError, match=r"training would be wrong.*spacing_mm"):
        refuse([problem], dataset)


@LOST
def test_the_exception_is_warned_about_by_its_case(tmp_path, save_scan):
    cases = [(noise(n), dots([(5, 9, 9)]) if n == 2 else ball()) for n in range(6)]
    dataset = write(tmp_path, save_scan, cases)
    (problem,) = prepared_problems(dataset, plan_for(dataset, spacing_mm=(2.0, 2.0, 2.0)))
    assert (problem.severity, problem.case) == ("warning", "c2")
    assert "keeps none of its 2 voxels" in problem.message
    assert refuse([problem], dataset) == [f"c2: {problem.message}"]


@LOST
def test_lost_components_beside_a_large_one_are_said(tmp_path, save_scan):
    """A ball of 895 voxels and five dots: most components vanish, most voxels do not."""
    label = ball() | dots([(1, 1, 1), (20, 1, 1), (1, 20, 1), (1, 1, 20), (20, 20, 20)])
    dataset = write(tmp_path, save_scan, [(noise(n), label) for n in range(5)])
    (problem,) = prepared_problems(dataset, plan_for(dataset, spacing_mm=(3.0, 3.0, 3.0)))
    assert (problem.severity, problem.code) == ("warning", "lost_components")
    assert "of its 6 components" in problem.message


@LOST
@pytest.mark.parametrize("limits", [(-60.0, 140.0), (5000.0, 9000.0)])
def test_limits_of_another_unit_make_a_channel_constant(tmp_path, save_scan, limits):
    """Values about 1000 and limits of HU, or of something else."""
    dataset = write(tmp_path, save_scan, [(noise(n) * 0.1 + 1000 + 5 * ball(), ball()) for n in range(5)])
    low, high = limits
    wrong = ChannelPlan(name="channel_0", normalisation="ct", low=low, high=high, mean=(low + high) / 2, std=50.0)
    problems = prepared_problems(dataset, plan_for(dataset, channels=(wrong.model_dump(),)))
    assert {(problem.severity, problem.code) for problem in problems} >= {("error", "constant_after_preparation")}


@LOST
@pytest.mark.parametrize(("spacing", "grid"), [(0.02, 1.0), (1e-3, 0.1)])
def test_a_grid_of_another_scale_is_degenerate(tmp_path, save_scan, spacing, grid):
    dataset = write(tmp_path, save_scan, [(noise(n), ball()) for n in range(4)], spacing)
    codes = {
        problem.code: problem.severity
        for problem in prepared_problems(dataset, plan_for(dataset, spacing_mm=(grid,) * 3))
    }
    assert codes["degenerate_grid"] == "error"


@LOST
def test_a_label_where_the_clip_cuts_is_said(tmp_path, save_scan):
    label = dots([(5, 9, 9), (15, 3, 4)])
    dataset = write(tmp_path, save_scan, [(noise(n) + 500.0 * label, label) for n in range(5)])
    assert prepared_problems(dataset, plan_for(dataset)) == []
    usual = ChannelPlan(name="channel_0").model_dump()
    (problem,) = prepared_problems(dataset, plan_for(dataset, channels=(usual,)))
    assert (problem.severity, problem.code) == ("warning", "clipped_label")


@LOST
def test_a_label_outside_the_crop_is_lost(tmp_path, save_scan):
    """The scan is zero where the label lies, so the crop leaves it out."""
    image, label = noise(0), np.zeros((24, 24, 24), np.uint8)
    image[:, :, 14:] = 0
    label[4:8, 4:8, 18:22] = 1
    dataset = write(tmp_path, save_scan, [(image, label)] * 4)
    (problem,) = prepared_problems(dataset, plan_for(dataset))
    assert (problem.severity, problem.code) == ("error", "lost_label")


@LOST
def test_the_cache_keeps_what_was_found(tmp_path, save_scan):
    dataset = write(tmp_path / "data", save_scan, [(noise(n), dots([(5, 9, 9)])) for n in range(4)])
    plan = plan_for(dataset, spacing_mm=(3.0, 3.0, 3.0))
    found = cache_problems(build_cache(dataset, plan, tmp_path / "cache"), plan)
    assert [problem.code for problem in found] == ["lost_label"]
    assert cache_problems(build_cache(dataset, plan, tmp_path / "cache"), plan) == found


@LOST
def test_sound_cases_have_no_problem_when_they_are_resampled(tmp_path, save_scan):
    dataset = write(tmp_path, save_scan, [(noise(n), ball()) for n in range(3)])
    for spacing in (0.7, 1.3, 2.0):
        plan = plan_for(dataset, spacing_mm=(spacing,) * 3)
        assert prepared_problems(dataset, plan) == []
        assert prepare_case(dataset.cases[0], dataset, plan)[2].facts == {}


@LOST
def test_a_mask_channel_may_be_empty_in_some_cases(tmp_path, save_scan):
    def pairs(empty):
        return [((noise(n), ball() * (n not in empty)), ball()) for n in range(5)]

    some = check_dataset(write(tmp_path / "some", save_scan, pairs({1}), channels=2))
    assert [(p.case, p.severity, p.code) for p in some.problems] == [("c1", "warning", "empty_channel")]
    every = check_dataset(write(tmp_path / "every", save_scan, pairs(set(range(5))), channels=2))
    assert {(p.severity, p.code) for p in every.problems} == {("error", "constant_channel")}
    scans = [((noise(n), noise(n + 9) if n else np.full((24, 24, 24), 100.0)), ball()) for n in range(5)]
    assert [p.code for p in check_dataset(write(tmp_path / "scan", save_scan, scans, channels=2)).problems] == [
        "constant_channel"
    ]


@pytest.mark.fault("a label that a fold never trains on")
@pytest.mark.parametrize("rare", [0, 3, 5])
def test_a_label_that_a_fold_never_trains_on_is_said(tmp_path, save_scan, rare):
    """One case has the second label: whichever fold holds it back trains without it."""
    cases = []
    for number in range(6):
        label = ball()
        if number == rare:
            label[2:5, 2:5, 2:5] = 2
        cases.append((noise(number), label))
    dataset = write(tmp_path / "data", save_scan, cases)
    plan = plan_for(dataset)
    fold = next(k for k, held in enumerate(split_folds(dataset)) if f"c{rare}" in held)
    (problem,) = prepared_problems(dataset, plan)
    assert (problem.severity, problem.code) == ("warning", "untrained_label")
    assert f"fold {fold} trains without label 'label_2': only c{rare} has it" in problem.message
    cache = build_cache(dataset, plan, tmp_path / "cache")
    assert cache_problems(cache, plan, {4: (f"c{rare}", "c1")})[0].message.startswith("fold 4 trains without")
    assert cache_problems(cache, plan, {4: ("c1",)}) == [] and cache_problems(cache, plan) == []
