"""Each planted problem is found under its code and severity, all in one pass, and a sound dataset has none."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from unetr.prepare.checks.check import check_dataset
from unetr.prepare.datasets.cases import LAYOUTS, open_dataset

SHAPE = (14, 12, 10)
IMAGE, LABEL = "imagesTr/case_01.nii.gz", "labelsTr/case_01.nii.gz"


def _noise(shape=SHAPE, scale=20.0):
    return np.random.default_rng(99).normal(5 * scale, scale, shape).astype(np.float32)


def _labels():
    label = np.zeros(SHAPE, np.uint8)
    label[2:5], label[8:10] = 1, 2
    return label


@pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - {"btcv"}))  # whose labels are given: test_recipes.py
def test_a_sound_dataset_has_no_problem(make_dataset, layout):
    report = check_dataset(open_dataset(make_dataset(layout)))
    assert report.problems == ()
    assert report.cases == 6


PLANTED = {
    "truncated image": (
        lambda root, save: (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:900]),
        ("case_01", "error", "unreadable_image"),
    ),
    "truncated label": (
        lambda root, save: (root / LABEL).write_bytes((root / LABEL).read_bytes()[:60]),
        ("case_01", "error", "unreadable_label"),
    ),
    "NaN voxels": (
        lambda root, save: save(root / IMAGE, np.where(_noise() > 100, np.nan, 1).astype(np.float32)),
        ("case_01", "error", "unreadable_image"),
    ),
    "other channels": (
        lambda root, save: save(root / IMAGE, _noise((*SHAPE, 2))),
        ("case_01", "error", "unreadable_image"),
    ),
    "label between integers": (
        lambda root, save: save(root / LABEL, (_labels() * 0.5).astype(np.float32)),
        ("case_01", "error", "unreadable_label"),
    ),
    "unknown values": (lambda root, save: save(root / LABEL, _labels() * 4), ("case_01", "error", "unknown_values")),
    "other shape": (lambda root, save: save(root / LABEL, _labels()[1:]), ("case_01", "error", "grid_mismatch")),
    "other affine": (
        lambda root, save: save(root / LABEL, _labels(), np.diag([1.0, 1, 1.1, 1])),
        ("case_01", "error", "grid_mismatch"),
    ),
    "constant image": (
        lambda root, save: save(root / IMAGE, np.full(SHAPE, 7, np.float32)),
        ("case_01", "error", "constant_image"),
    ),
    "empty label": (lambda root, save: save(root / LABEL, _labels() * 0), ("case_01", "warning", "empty_foreground")),
    "copied image": (
        lambda root, save: shutil.copy(root / "imagesTr/case_00.nii.gz", root / IMAGE),
        ("case_01", "error", "duplicate_image"),
    ),
    "thin volume": (
        lambda root, save: (save(root / IMAGE, _noise()[..., :5]), save(root / LABEL, _labels()[..., :5])),
        ("case_01", "warning", "tiny_volume"),
    ),
    "long volume": (
        lambda root, save: (save(root / IMAGE, _noise((60, 12, 10))), save(root / LABEL, _labels().repeat(5, 0)[:60])),
        ("case_01", "warning", "outlier_shape"),
    ),
    "coarse volume": (
        lambda root, save: [
            save(root / IMAGE, _noise(), np.diag([1.0, 1, 4, 1])),
            save(root / LABEL, _labels(), np.diag([1.0, 1, 4, 1])),
        ],
        ("case_01", "warning", "outlier_spacing"),
    ),
    "other spacing": (
        lambda root, save: [
            save(root / IMAGE, _noise(), np.diag([1.0, 1, 1.5, 1])),
            save(root / LABEL, _labels(), np.diag([1.0, 1, 1.5, 1])),
        ],
        (None, "warning", "mixed_spacings"),
    ),
    "other orientation": (
        lambda root, save: [
            save(root / IMAGE, _noise(), np.diag([-1.0, 1, 1, 1])),
            save(root / LABEL, _labels(), np.diag([-1.0, 1, 1, 1])),
        ],
        (None, "warning", "mixed_orientations"),
    ),
    "other units": (lambda root, save: save(root / IMAGE, _noise(scale=9000)), (None, "info", "intensity_scale")),
}


@pytest.mark.parametrize(("plant", "expected"), PLANTED.values(), ids=PLANTED)
def test_planted_problem_is_found(make_dataset, save_scan, plant, expected):
    root = make_dataset("decathlon")
    plant(root, save_scan)
    report = check_dataset(open_dataset(root))
    found = {(problem.case, problem.severity, problem.code) for problem in report.problems}
    assert expected in found
    # Nothing is said about the other cases.
    assert {case for case, _, _ in found} <= {None, "case_01"}
    assert bool(report.errors) == (expected[1] == "error")


def test_every_problem_of_every_case_is_listed(make_dataset, save_scan, edit_json):
    root = make_dataset("decathlon", 3)
    (root / "imagesTr/case_00.nii.gz").write_bytes(b"no scan")
    save_scan(root / "labelsTr/case_00.nii.gz", _labels() * 5)
    save_scan(root / "labelsTr/case_01.nii.gz", _labels()[:-1] * 9)
    save_scan(root / "imagesTr/case_02.nii.gz", np.zeros(SHAPE, np.float32))
    report = check_dataset(open_dataset(root))
    assert [(problem.case, problem.code) for problem in report.problems if problem.severity == "error"] == [
        ("case_00", "unreadable_image"),
        ("case_00", "unknown_values"),
        ("case_01", "grid_mismatch"),
        ("case_01", "unknown_values"),
        ("case_02", "constant_image"),
    ]
    assert (None, "few_cases") in {(problem.case, problem.code) for problem in report.problems}
    data = json.loads(report.to_json())
    assert data["errors"] == 5
    assert data["problems"][1]["message"].count("\n") == 0


def test_label_that_never_occurs_and_labels_that_are_all_empty(make_dataset, save_scan):
    root = make_dataset("decathlon", 5)
    for i in range(5):
        save_scan(root / f"labelsTr/case_{i:02d}.nii.gz", _labels() % 2)
    (problem,) = check_dataset(open_dataset(root)).problems
    assert (problem.severity, problem.code) == ("warning", "label_never_occurs")
    assert "'back'" in problem.message
    for i in range(5):
        save_scan(root / f"labelsTr/case_{i:02d}.nii.gz", _labels() * 0)
    assert [problem.code for problem in check_dataset(open_dataset(root)).errors] == ["all_empty"]


def test_duplicates_within_a_subject_and_bad_folds(make_dataset):
    table = make_dataset("csv", 5)
    rows = [f"scans/{i}_0.nii.gz,truth/{i}.nii.gz,c{i},s{i},{i % 2}" for i in range(5)]
    rows += ["scans/0_0.nii.gz,truth/0.nii.gz,again,s0,1", "scans/1_0.nii.gz,,new,s9,"]
    table.write_text("image,label,id,subject,fold\n" + "\n".join(rows) + "\n")
    found = {(p.case, p.severity, p.code) for p in check_dataset(open_dataset(table)).problems}
    assert found == {
        (None, "error", "folds"),
        ("c0", "warning", "duplicate_image"),
        ("new", "warning", "no_label"),
        ("new", "error", "duplicate_image"),
    }


def test_constant_channel_among_others(make_dataset, save_scan):
    root = make_dataset("nnunet", 5, 2)
    save_scan(root / "imagesTr/case_03_0001.nii.gz", np.zeros(SHAPE, np.float32))
    (problem,) = check_dataset(open_dataset(root)).problems
    assert (problem.case, problem.severity, problem.code) == ("case_03", "error", "constant_channel")


def test_progress_counts_every_case(make_dataset):
    calls = []
    check_dataset(open_dataset(make_dataset()), lambda done, total: calls.append((done, total)))
    assert calls == [(i, 6) for i in range(1, 7)]


def test_the_real_hippocampus_has_no_error(shared_data):
    report = check_dataset(open_dataset(shared_data / "Task04_Hippocampus"))
    assert report.errors == ()
    assert "intensity_scale" in {problem.code for problem in report.problems}
