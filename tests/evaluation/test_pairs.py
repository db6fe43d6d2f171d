"""Scoring cases and folders: hand-made labels, files written and read back, and real labels."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import surface_distance

from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.evaluation.pairs import Target, evaluate_folders, evaluate_pairs, match_cases, score_case
from unetr.evaluation.results import read_results, write_results
from unetr.io import read_label, write_volume

SPACING = (1.0, 2.0, 5.0)


def labels(**boxes):
    """Label volume of 8x8x8 with value k in rows low..high of x: labels(v1=(0, 2))."""
    data = np.zeros((8, 8, 8), np.uint8)
    for name, (low, high) in boxes.items():
        data[low:high, 2:6, 2:6] = int(name[1:])
    return data


def save(folder, case, data, names=None, spacing=SPACING):
    write_volume(folder / f"{case}.nii.gz", Volume(data[None], np.diag([*spacing, 1.0]), label_names=names or {}))


@pytest.fixture
def folders(tmp_path):
    predictions, truths = tmp_path / "predictions", tmp_path / "labels"
    predictions.mkdir()
    truths.mkdir()
    return predictions, truths


def by_case(results):
    return {(score.case, score.label): score for score in results.scores}


def test_score_case_by_hand():
    truth, prediction = labels(v1=(0, 4), v2=(4, 6)), labels(v1=(1, 4), v2=(4, 8))
    targets = [Target("one", (1,)), Target("two", (2,)), Target("both", (1, 2)), Target("gone", (7,))]
    one, two, both, gone = score_case(prediction, truth, targets, SPACING, case="c")
    assert (one.tp, one.fp, one.fn, one.dice, one.iou) == (48, 0, 16, 96 / 112, 48 / 64)
    assert (two.tp, two.fp, two.fn, two.dice) == (32, 32, 0, 64 / 96)
    assert (both.tp, both.fp, both.fn) == (80, 32, 16)
    assert one.truth_ml == pytest.approx(64 * 0.01)
    assert one.prediction_ml == pytest.approx(48 * 0.01)
    assert both.values == (1, 2)
    assert [one.empty, gone.empty] == ["", "both"]
    assert all(math.isnan(v) for v in (gone.dice, gone.iou, gone.hd95_mm, gone.assd_mm, gone.nsd))
    assert one.hd95_mm == 1.0  # the end of the box moved by one voxel of 1 mm


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_target_equals_the_oracle_on_its_mask():
    rng = np.random.default_rng(3)
    truth, prediction = rng.integers(0, 5, (2, 9, 8, 7)).astype(np.uint16) * 60
    targets = [Target("a", (60,)), Target("b", (240,)), Target("region", (120, 180)), Target("none", (5,))]
    for score in score_case(prediction, truth, targets[:3], SPACING, 1.5):
        masks = [np.isin(array, score.values) for array in (truth, prediction)]
        found = surface_distance.compute_surface_distances(*masks, SPACING)
        assert score.hd95_mm == pytest.approx(surface_distance.compute_robust_hausdorff(found, 95))
        assert score.nsd == pytest.approx(surface_distance.compute_surface_dice_at_tolerance(found, 1.5))
        assert score.dice == pytest.approx(surface_distance.compute_dice_coefficient(*masks))


def test_background_is_no_target():
    with pytest.raises(ValueError, match="background"):
        score_case(labels(), labels(), [Target("background", (0,))], SPACING)


def test_folders(folders):
    predictions, truths = folders
    save(truths, "c1", labels(v1=(0, 4), v2=(4, 6)))
    save(predictions, "c1", labels(v1=(0, 4), v2=(4, 6)))
    save(truths, "c2", labels(v1=(0, 4)))
    save(predictions, "c2", labels(v1=(2, 4), v2=(5, 6)))
    save(truths, "c3", labels(v1=(0, 4)))
    save(predictions, "c9", labels(v1=(0, 4)))
    seen = []
    results = evaluate_folders(
        predictions, truths, names={"background": 0, "one": 1, "two": 2}, progress=lambda *of: seen.append(of)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    scores = by_case(results)
    assert list(scores) == [(c, n) for c in ("c1", "c2", "c3") for n in ("one", "two")]
    assert scores["c1", "two"].dice == scores["c1", "two"].nsd == 1
    assert scores["c2", "one"].dice == pytest.approx(2 * 32 / (32 + 64))
    assert scores["c2", "two"].dice == 0
    assert scores["c2", "two"].empty == "truth"
    assert (scores["c3", "one"].dice, scores["c3", "one"].empty) == (0, "prediction")
    assert math.isnan(scores["c3", "two"].dice)
    assert (results.missing, results.extra) == (("c3",), ("c9",))
    assert results.mean_dice == pytest.approx(((1 + 2 / 3 + 0) / 3 + (1 + 0) / 2) / 2)
    only = evaluate_folders(predictions, truths, cases=["c1"])
    assert (only.cases, only.missing, only.extra) == (("c1",), (), ("c9",))


def test_names_come_from_the_files(folders):
    predictions, truths = folders
    save(truths, "c1", labels(v1=(0, 4)))
    save(predictions, "c1", labels(v1=(0, 4), v3=(6, 7)))
    save(truths, "c2", labels(v1=(0, 4), v2=(5, 6)), {1: "aorta"})
    save(predictions, "c2", labels(v1=(0, 4)))
    scores = by_case(evaluate_folders(predictions, truths))
    assert set(scores) == {(c, n) for c in ("c1", "c2") for n in ("aorta", "label 2", "label 3")}
    assert scores["c1", "aorta"].dice == 1
    assert math.isnan(scores["c1", "label 2"].dice)  # first seen in c2, and in neither file of c1
    assert scores["c1", "label 3"].dice == 0
    save(predictions, "c2", labels(v1=(0, 4)), {1: "liver"})
    with pytest.raises(InputError, match=r"'liver'.*'aorta'"):
        evaluate_folders(predictions, truths)


def test_regions_are_unions(folders):
    predictions, truths = folders
    save(truths, "c", labels(v1=(0, 2), v2=(2, 4), v3=(4, 8)))
    save(predictions, "c", labels(v1=(2, 4), v2=(0, 2), v3=(4, 6)))
    results = evaluate_folders(predictions, truths, regions={"core": (1, 2), "whole": (1, 2, 3)})
    assert [score.label for score in results.scores] == ["core", "whole"]
    assert results.scores[0].dice == 1
    assert results.scores[1].dice == pytest.approx(2 * 6 / (6 + 8))
    with pytest.raises(InputError, match="two regions"):
        evaluate_folders(predictions, truths, regions={"a": (1,), "b": (1,)})


def test_ignored_voxels_do_not_count(folders):
    predictions, truths = folders
    save(truths, "c", labels(v1=(0, 4), v9=(4, 8)))
    save(predictions, "c", labels(v1=(0, 8)))
    assert evaluate_folders(predictions, truths, names={"one": 1}, ignore_value=9).scores[0].dice == 1


def test_two_files(folders):
    predictions, truths = folders
    save(truths, "truth", labels(v1=(0, 4)))
    save(predictions, "guess", labels(v1=(0, 4)))
    results = evaluate_folders(predictions / "guess.nii.gz", truths / "truth.nii.gz")
    assert (results.cases, results.mean_dice) == (("truth",), 1)


def test_grids_that_differ_name_both_files(folders):
    predictions, truths = folders
    save(truths, "c", labels(v1=(0, 4)))
    save(predictions, "c", labels(v1=(0, 4)), spacing=(1, 2, 4.9))
    with pytest.raises(InputError) as error:
        evaluate_folders(predictions, truths)
    assert str(predictions / "c.nii.gz") in str(error.value)
    assert str(truths / "c.nii.gz") in str(error.value)


@pytest.mark.fault("one bad pair among good ones")
@pytest.mark.parametrize("bad", ["shifted", "cut", "values", "damaged", "text", "names"])
def test_every_other_pair_is_scored(folders, bad):
    predictions, truths = folders
    for case in "abcd":
        save(truths, case, labels(v1=(0, 4)))
        save(predictions, case, labels(v1=(0, 4)))
    for case in "bd":
        path = predictions / f"{case}.nii.gz"
        if bad == "shifted":
            save(predictions, case, labels(v1=(0, 4)), spacing=(1, 2, 4.9))
        elif bad == "cut":
            volume = read_label(path)
            write_volume(path, volume.with_data(volume.data[:, 1:]))
        elif bad == "values":
            save(predictions, case, labels(v7=(0, 4)))
        elif bad == "damaged":
            path.write_bytes(path.read_bytes()[:-9])
        elif bad == "text":
            path.write_text("no scan")
        else:
            write_volume(path, replace(read_label(path), label_names={2: "liver" if case == "b" else "spleen", 1: "x"}))
            write_volume(
                truths / f"{case}.nii.gz", replace(read_label(truths / f"{case}.nii.gz"), label_names={1: "y"})
            )
    names = {"one": 1} if bad == "values" else None
    pairs, _ = match_cases(predictions, truths)
    results = evaluate_pairs(pairs, names=names, keep_going=True)
    assert set(results.failed) == {"b", "d"} and results.cases == ("a", "c")
    assert all(f"{case}.nii.gz" in reason for case, reason in results.failed.items())
    assert results.mean_dice == 1 and len(results.classes) == 1
    with pytest.raises(InputError):
        evaluate_pairs(pairs, names=names)
    write_results(predictions, results)
    assert read_results(predictions / "results.json").failed == results.failed


@pytest.mark.fault("lossless turn of a label")
def test_a_prediction_in_another_orientation_is_scored_as_if_it_were_not(folders):
    predictions, truths = folders
    rng = np.random.default_rng(4)
    for number, axes in enumerate(["LAS", "PSR", "RAS", "ILA"]):
        truth, guess = (rng.integers(0, 3, (8, 6, 5)).astype(np.uint8) for _ in range(2))
        save(truths, f"c{number}", truth)
        save(predictions, f"c{number}", guess)
        straight = evaluate_folders(predictions / f"c{number}.nii.gz", truths / f"c{number}.nii.gz")
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(axes)
        )
        image = nibabel.load(predictions / f"c{number}.nii.gz").as_reoriented(turn)
        nibabel.save(image, predictions / f"c{number}.nii.gz")
        results = evaluate_folders(predictions / f"c{number}.nii.gz", truths / f"c{number}.nii.gz")
        assert results.scores == straight.scores
        assert len(results.notes) == (axes != "RAS")


def test_unknown_values_are_an_error(folders):
    predictions, truths = folders
    save(truths, "c", labels(v1=(0, 4)))
    save(predictions, "c", labels(v4=(0, 4)))
    with pytest.raises(InputError, match="unknown label values 4"):
        evaluate_folders(predictions, truths, names={"one": 1})


def test_nothing_to_compare(folders):
    predictions, truths = folders
    save(truths, "c", labels(v1=(0, 4)))
    with pytest.raises(InputError, match="no scan files"):
        evaluate_folders(predictions, truths)
    save(predictions, "d", labels(v1=(0, 4)))
    with pytest.raises(InputError, match="name predictions as the labels"):
        evaluate_folders(predictions, truths)
    with pytest.raises(InputError, match="'x'"):
        match_cases(predictions, truths, ["x"])
    with pytest.raises(InputError, match="no such"):
        evaluate_folders(predictions / "nowhere", truths)
    write_volume(truths / "c.nrrd", Volume(labels()[None], np.eye(4)))
    with pytest.raises(InputError, match="one case"):
        match_cases(predictions, truths)


def test_all_hippocampus_cases_in_seconds(shared_data):
    folder = shared_data / "Task04_Hippocampus" / "labelsTr"
    started = time.perf_counter()
    results = evaluate_folders(folder, folder, names={"anterior": 1, "posterior": 2})
    assert time.perf_counter() - started < 30  # about 3 s on a quiet core
    assert len(results.cases) == 208
    assert results.mean_dice == 1
    assert {(s.dice, s.iou, s.hd95_mm, s.assd_mm, s.nsd) for s in results.scores} == {(1, 1, 0, 0, 1)}
