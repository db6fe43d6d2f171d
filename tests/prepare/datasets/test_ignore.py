"""Voxels that nobody labelled: declared in every layout or in the plan alone, and left out of everything."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from unetr.errors import InputError
from unetr.evaluation.pairs import Pair, evaluate_pairs
from unetr.prepare.cache import build_cache
from unetr.prepare.checks.check import check_dataset
from unetr.prepare.datasets.cases import open_dataset
from unetr.prepare.measure.fingerprint import measure_case
from unetr.prepare.planning.planner import make_plan

IGNORED = 250  # a value that fits a byte and is no usual mark, so that nothing guesses it


def mark(root: Path) -> None:
    """In every label the slices from 9 on are what nobody labelled."""
    for path in [*root.glob("labels*/*.nii.gz"), *root.glob("truth/*.nii.gz")]:
        image = nibabel.load(path)
        label = np.asanyarray(image.dataobj).copy()
        label[..., 9:] = IGNORED
        nibabel.save(nibabel.Nifti1Image(label, image.affine, image.header), path)


@pytest.fixture
def marked(make_dataset):
    def make(layout: str) -> Path:
        path = make_dataset(layout)
        mark(path if path.is_dir() else path.parent)
        return path

    return make


DECLARED = {
    "decathlon": [{"labels": {"0": "background", "1": "front", "2": "back", str(IGNORED): "ignore"}}],
    "nnunet": [{"labels": {"background": 0, "front": 1, "back": 2, "ignore": IGNORED}}],
}
DECLARED = {layout: [*ways, {"ignore_label": IGNORED}] for layout, ways in DECLARED.items()}


def declare(path: Path, edit_json, name: str) -> None:
    """Writes the ignored value into the file that says what the labels are, by this name where names are free."""
    root = path if path.is_dir() else path.parent
    described = root / "dataset.json"
    if described.exists():
        layout = "nnunet" if "channel_names" in json.loads(described.read_text()) else "decathlon"
        edit_json(described, **DECLARED[layout][("ignore", "ignore_label").index(name)])
    else:
        edit_json(next(iter(root.glob("*labels.json"))), **{name: IGNORED})


@pytest.mark.fault("ignore label")
@pytest.mark.parametrize("name", ["ignore", "ignore_label"])
@pytest.mark.parametrize("layout", ["decathlon", "nnunet", "folders", "csv"])
def test_every_layout_can_declare_it(marked, edit_json, layout, name):
    path = marked(layout)
    assert any(problem.code == "unknown_values" for problem in check_dataset(open_dataset(path)).errors)
    declare(path, edit_json, name)
    dataset = open_dataset(path)
    assert dataset.ignore_label == IGNORED
    assert dataset.labels == {"background": 0, "front": 1, "back": 2}
    assert check_dataset(dataset).errors == ()


@pytest.mark.fault("ignore label")
@pytest.mark.parametrize("layout", ["decathlon", "nnunet", "folders", "csv"])
def test_the_plan_alone_can_say_it(marked, tiny_plan, tmp_path, layout):
    dataset = open_dataset(marked(layout))
    labels = {"background": 0, "front": 1, "back": 2}
    plan = tiny_plan.model_copy(update={"labels": labels, "ignore_label": IGNORED})
    dataset = dataset.ignoring(plan.ignore_label)
    assert (dataset.labels, dataset.ignore_label) == (labels, IGNORED)
    assert check_dataset(dataset).errors == ()
    cache = build_cache(dataset, plan, tmp_path / "cache")
    for case in dataset.cases:
        truth = np.asarray(nibabel.load(case.label).dataobj)
        expected = np.where(truth == IGNORED, -1, truth.astype(int))
        opened = cache.open(case.id)
        assert np.array_equal(opened.label, expected)
        # No window is centred on what nobody labelled.
        for index, places in opened.foreground.items():
            assert (expected[tuple(places.T)] == index).all()


@pytest.mark.fault("ignore label")
def test_found_names_make_way_for_the_plan(marked):
    folders = marked("folders")
    (folders / "labels.json").unlink()
    dataset = open_dataset(folders)
    assert dataset.labels == {"background": 0, "label_1": 1, "label_2": 2, "label_250": 250}
    assert dataset.ignoring(IGNORED).labels == {"background": 0, "label_1": 1, "label_2": 2}


@pytest.mark.fault("ignore label")
def test_plan_and_dataset_must_agree(marked, edit_json):
    path = marked("nnunet")
    declare(path, edit_json, "ignore")
    dataset = open_dataset(path)
    assert dataset.ignoring(IGNORED) is dataset
    for other in (None, 7):
        with pytest.raises(InputError, match=str(IGNORED)):
            dataset.ignoring(other)


@pytest.mark.fault("ignore label")
def test_what_is_measured_leaves_it_out(marked, edit_json):
    path = marked("folders")
    declare(path, edit_json, "ignore")
    dataset = open_dataset(path)
    for case in dataset.cases:
        truth = np.asarray(nibabel.load(case.label).dataobj)
        counted = {v: int((truth == v).sum()) for v in (1, 2) if (truth == v).any()}
        assert measure_case(case, dataset).counts == counted


@pytest.mark.fault("ignore label")
def test_a_byte_full_of_ones_is_asked_about(make_dataset, save_scan):
    folders = make_dataset("folders")
    (folders / "labels.json").unlink()
    assert open_dataset(folders).notes == ()
    label = np.zeros((14, 12, 10), np.uint8)
    label[3:6, 3:6, 3:6], label[10:] = 1, 255
    save_scan(folders / "labels/case_00.nii.gz", label)
    (note,) = open_dataset(folders).notes
    assert (note.severity, note.code) == ("warning", "ignore_value")
    assert '"ignore": 255' in note.message
    assert next(p.code for p in check_dataset(open_dataset(folders)).problems if p.case is None) == "ignore_value"


WRONG = {
    "text": "255",
    "empty": "",
    "negative": -1,
    "zero, the background": 0,
    "of another label": 1,
    "fraction": 255.5,
    "whole, but no integer": 255.0,
    "list": [255],
    "empty list": [],
    "object": {"value": 255},
    "true": True,
    "null": None,
    "beyond what is kept": 32768,
    "beyond 16 bits": 65536,
    "of 40 digits": 10**39,
}


@pytest.mark.fault("ignore label")
@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("layout", ["decathlon", "nnunet", "folders", "csv"])
def test_a_wrong_value_is_one_line(make_dataset, edit_json, layout, value):
    path = make_dataset(layout, 2)
    root = path if path.is_dir() else path.parent
    described = root / "dataset.json"
    if not described.exists():
        described = next(iter(root.glob("*labels.json")))
    edit_json(described, ignore_label=value)
    with pytest.raises(InputError) as caught:
        open_dataset(path)
    assert described.name in str(caught.value) and "ignore_label" in str(caught.value)
    if layout == "nnunet":
        edit_json(described, ignore_label=..., labels={"background": 0, "front": 1, "back": 2, "ignore": value})
        with pytest.raises(InputError, match=r"dataset\.json: .*ignore"):
            open_dataset(path)


@pytest.mark.fault("ignore label")
def test_a_region_is_not_made_of_it(make_dataset, edit_json):
    root = make_dataset("nnunet", 2)
    labels = {"background": 0, "whole": [1, 2, 3], "core": 2, "ignore": 3}
    edit_json(root / "dataset.json", labels=labels, regions_class_order=[1, 2])
    with pytest.raises(InputError, match="whole"):
        open_dataset(root)


@pytest.mark.fault("ignore label")
def test_two_words_for_it_must_agree(make_dataset, edit_json):
    folders = make_dataset("folders", 2)
    edit_json(folders / "labels.json", ignore=7, ignore_label=7)
    assert open_dataset(folders).ignore_label == 7
    edit_json(folders / "labels.json", ignore=7, ignore_label=8)
    with pytest.raises(InputError, match="ignore and ignore_label"):
        open_dataset(folders)


@pytest.mark.fault("ignore label")
def test_scores_leave_it_out(save_scan, tmp_path, unetr):
    """8 true voxels of which 4 are known; 2 of these are predicted, and 1 wrong one: Dice 2 * 2 / (4 + 3)."""
    truth, predicted = np.zeros((6, 6, 6), np.uint8), np.zeros((6, 6, 6), np.uint8)
    truth[0:2, 0:2, 0:1] = 1
    truth[:, :, 3:] = IGNORED
    predicted[0, 0:2, 0], predicted[5, 5, 0], predicted[:, :, 4] = 1, 1, 1
    pair = Pair("a", save_scan(tmp_path / "p/a.nii.gz", predicted), save_scan(tmp_path / "t/a.nii.gz", truth))
    (score,) = evaluate_pairs([pair], names={"front": 1}, ignore_value=IGNORED).scores
    assert (score.tp, score.fp, score.fn) == (2, 1, 2)
    assert score.dice == pytest.approx(4 / 7)
    outcome = unetr("evaluate", tmp_path / "p", tmp_path / "t", "--ignore-label", IGNORED, "--json")
    assert outcome.code == 0, outcome
    (found,) = json.loads(outcome.out)["scores"]
    assert (found["tp"], found["fp"], found["fn"]) == (2, 1, 2)


@pytest.mark.fault("ignore label")
def test_a_plan_has_the_dataset_s(marked, edit_json):
    path = marked("decathlon")
    declare(path, edit_json, "ignore")
    dataset = open_dataset(path)
    from unetr.prepare.measure.fingerprint import measure_fingerprint

    assert make_plan(dataset, measure_fingerprint(dataset), preset="tiny").ignore_label == IGNORED


@pytest.mark.fault("ignore label")
def test_a_label_of_255_without_a_word_is_asked_about(save_scan, tmp_path, unetr):
    truth = np.zeros((6, 6, 6), np.uint8)
    truth[0:2], truth[4:] = 1, 255
    save_scan(tmp_path / "t/a.nii.gz", truth)
    save_scan(tmp_path / "p/a.nii.gz", np.where(truth == 1, 1, 0).astype(np.uint8))
    asked = unetr("evaluate", tmp_path / "p", tmp_path / "t")
    assert asked.code == 0 and "--ignore-label 255" in asked.err
    told = unetr("evaluate", tmp_path / "p", tmp_path / "t", "--ignore-label", 255)
    assert told.code == 0 and "--ignore-label" not in told.err
    assert told.out.count("1.000") == 4 and "label 255" not in told.out
