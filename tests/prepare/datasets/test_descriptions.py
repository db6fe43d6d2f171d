"""What a dataset.json says is obeyed, or said not to be; nothing of it is passed over without a word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unetr.errors import InputError
from unetr.prepare.checks.check import check_dataset
from unetr.prepare.datasets.cases import open_dataset
from unetr.prepare.datasets.folds import split_folds

OBEYED = pytest.mark.fault("dataset.json obeyed")
NAMES = [f"case_{number:02d}" for number in range(6)]


def listed(names, **more):
    return [{"image": f"imagesTr/{n}.nii.gz", "label": f"labelsTr/{n}.nii.gz", **more} for n in names]


def said(path: Path) -> dict[str, str]:
    """Code -> message of the notes, which `check` reports as well."""
    dataset = open_dataset(path)
    notes = {note.code: note.message for note in dataset.notes}
    reported = {problem.code: problem.message for problem in check_dataset(dataset).problems}
    assert notes.items() <= reported.items()
    return notes


@OBEYED
@pytest.mark.parametrize("layout", ["decathlon", "nnunet"])
def test_what_is_all_right_is_not_spoken_of(make_dataset, edit_json, layout):
    root = make_dataset(layout)
    facts = {"name": "x", "release": "1.0", "tensorImageSize": "3D", "numTraining": 6, "numTest": 0, "author": "me"}
    edit_json(root / "dataset.json", **facts)
    assert said(root) == {}


@OBEYED
@pytest.mark.parametrize("layout", ["decathlon", "nnunet"])
@pytest.mark.parametrize("number", [5, 7, 50, "6", None, 6.5, [6]])
def test_another_number_of_cases_is_said(make_dataset, edit_json, layout, number):
    root = make_dataset(layout)
    edit_json(root / "dataset.json", numTraining=number)
    assert "numTraining" in said(root)["not_obeyed"] and "6 cases" in said(root)["not_obeyed"]


@OBEYED
@pytest.mark.parametrize("key", ["overwrite_image_reader_writer", "normalisation", "my_folds", "evaluationMetric"])
@pytest.mark.parametrize("layout", ["decathlon", "nnunet"])
def test_a_key_that_nothing_is_made_of_is_said(make_dataset, edit_json, layout, key):
    root = make_dataset(layout)
    edit_json(root / "dataset.json", **{key: "SimpleITKIO"})
    assert key in said(root)["not_obeyed"]


@OBEYED
def test_only_the_cases_that_dataset_lists(make_dataset, edit_json):
    root = make_dataset("nnunet")
    some = {
        f"own_{n}": {"images": [f"imagesTr\\{n}_0000.nii.gz"], "label": f"./labelsTr/{n}.nii.gz"} for n in NAMES[:4]
    }
    edit_json(root / "dataset.json", dataset=some, numTraining=4)
    dataset = open_dataset(root)
    assert [case.id for case in dataset.cases] == [f"own_{n}" for n in NAMES[:4]]
    assert dataset.cases[1].images == (root / "imagesTr/case_01_0000.nii.gz",)
    assert list(said(root)) == ["not_listed"] and "case_05" in said(root)["not_listed"]


@pytest.mark.fault("dataset.json lists")
@pytest.mark.parametrize(
    "entry",
    [
        *({}, [], "labelsTr/case_00.nii.gz", None, 3),
        {"images": ["imagesTr/case_00_0000.nii.gz"]},
        {"images": "imagesTr/case_00_0000.nii.gz", "label": "labelsTr/case_00.nii.gz"},
        {"images": [], "label": "labelsTr/case_00.nii.gz"},
        {"images": ["imagesTr/case_00_0000.nii.gz"] * 2, "label": "labelsTr/case_00.nii.gz"},
        {"images": [7], "label": "labelsTr/case_00.nii.gz"},
        {"images": ["imagesTr/case_00_0000.nii.gz"], "label": None},
        {"images": ["../case_00_0000.nii.gz"], "label": "labelsTr/case_00.nii.gz"},
        {"images": ["/imagesTr/case_00_0000.nii.gz"], "label": "labelsTr/case_00.nii.gz"},
        {"images": ["."], "label": "labelsTr/case_00.nii.gz"},
        {"images": ["imagesTr/none_0000.nii.gz"], "label": "labelsTr/case_00.nii.gz"},
        {"images": ["labelsTr/case_00.nii.gz"], "label": "labelsTr/case_00.nii.gz"},
    ],
)
def test_a_wrong_entry_of_dataset_is_one_line(make_dataset, edit_json, entry):
    root = make_dataset("nnunet", 2)
    good = {"images": ["imagesTr/case_01_0000.nii.gz"], "label": "labelsTr/case_01.nii.gz"}
    edit_json(root / "dataset.json", dataset={"a": entry, "b": good})
    with pytest.raises(InputError, match=r"dataset\.json: "):
        open_dataset(root)


@pytest.mark.fault("dataset.json lists")
@pytest.mark.parametrize("lists", [{"dataset": {}}, {"dataset": []}, {"labels": {}}, {"channel_names": []}])
def test_an_empty_list_is_one_line(make_dataset, edit_json, lists):
    root = make_dataset("nnunet", 2)
    edit_json(root / "dataset.json", **lists)
    with pytest.raises(InputError, match=next(iter(lists))):
        open_dataset(root)


@OBEYED
def test_folds_of_the_entries(make_dataset, edit_json):
    root = make_dataset("decathlon")
    entries = [entry | {"fold": i % 3} for i, entry in enumerate(listed(NAMES))]
    edit_json(root / "dataset.json", training=entries)
    assert split_folds(open_dataset(root)) == [(NAMES[i], NAMES[i + 3]) for i in range(3)]
    assert said(root) == {}


@OBEYED
@pytest.mark.parametrize("fold", ["0", -1, 1.0, True, None, [0], 10**9])
def test_a_wrong_fold_is_one_line(make_dataset, edit_json, fold):
    root = make_dataset("decathlon", 2)
    edit_json(root / "dataset.json", training=listed(NAMES[:2], fold=fold))
    with pytest.raises(InputError, match="fold"):
        open_dataset(root)


def splits(vals):
    return [{"train": [n for n in NAMES if n not in val], "val": val} for val in vals]


@OBEYED
@pytest.mark.parametrize("layout", ["decathlon", "nnunet"])
def test_splits_final_is_a_cross_validation(make_dataset, layout):
    root = make_dataset(layout)
    vals = [["case_00", "case_04"], ["case_03"], ["case_01", "case_02", "case_05"]]
    (root / "splits_final.json").write_text(json.dumps(splits(vals)))
    assert split_folds(open_dataset(root)) == [tuple(sorted(val)) for val in vals]
    assert "3 folds" in said(root)["splits"]


@OBEYED
@pytest.mark.parametrize(
    "wrong",
    [
        splits([NAMES[:3], NAMES[2:]]),
        splits([NAMES[:3], NAMES[4:]]),
        splits([NAMES]),
        [],
        {},
        "text",
        [1, 2],
        [{"train": NAMES, "val": []}] * 2,
        [{"train": NAMES[:1], "val": NAMES[3:]}, {"train": NAMES[3:], "val": NAMES[:3]}],
        [{"train": NAMES[3:], "val": [*NAMES[:3], "case_99"]}, {"train": NAMES[:3], "val": NAMES[3:]}],
        [{"train": [0], "val": [1]}, {"train": [1], "val": [0]}],
    ],
)
def test_splits_that_are_none_are_said(make_dataset, wrong):
    root = make_dataset("nnunet")
    (root / "splits_final.json").write_text(json.dumps(wrong))
    assert "splits_final.json: its folds are not used: " in said(root)["not_obeyed"]
    assert all(case.fold is None for case in open_dataset(root).cases)


@OBEYED
@pytest.mark.parametrize(("name", "spoken_of"), [("rescale_to_0_1", True), ("Rescale_To_0_1", True), ("zscore", False)])
def test_a_normalisation_that_is_not_had_is_said(make_dataset, edit_json, name, spoken_of):
    root = make_dataset("nnunet")
    edit_json(root / "dataset.json", channel_names={"0": name})
    assert (name.lower() in said(root).get("not_obeyed", "")) == spoken_of


@OBEYED
def test_lists_beside_training_are_said(make_dataset, edit_json):
    root = make_dataset("decathlon")
    edit_json(root / "dataset.json", training=listed(NAMES[:5], patient="x"), validation=listed(NAMES[5:]))
    messages = [note.message for note in open_dataset(root).notes]
    assert any("'patient'" in message for message in messages)
    assert any("validation" in message for message in messages)
    assert any("case_05" in message for message in messages)


@OBEYED
def test_scans_that_nnunet_s_names_leave_out_are_said(make_dataset, save_scan):
    root = make_dataset("nnunet")
    for name in ("imagesTr/more_0000.nii", "imagesTr/plain.nii.gz", "labelsTr/more.nii"):
        save_scan(root / name, np.zeros((4, 4, 4), np.uint8))
    message = said(root)["not_obeyed"]
    assert all(name in message for name in ("imagesTr/more_0000.nii", "imagesTr/plain.nii.gz", "labelsTr/more.nii"))


@OBEYED
@pytest.mark.parametrize("ending", [".png", ".tif", ".nii.bz2", ".json"])
def test_a_file_ending_that_is_not_read_is_one_line(make_dataset, edit_json, ending):
    root = make_dataset("nnunet", 2)
    edit_json(root / "dataset.json", file_ending=ending)
    with pytest.raises(InputError, match="file_ending"):
        open_dataset(root)


@OBEYED
@pytest.mark.parametrize("layout", ["decathlon", "nnunet"])
def test_labels_either_way_round(make_dataset, edit_json, layout):
    root = make_dataset(layout)
    expected = {"background": 0, "front": 1, "back": 2}
    for labels in (expected, {"0": "background", "2": "back", "1": "front"}):
        edit_json(root / "dataset.json", labels=labels)
        assert open_dataset(root).labels == expected


@pytest.mark.fault("nnU-Net v1")
@pytest.mark.parametrize("channels", [1, 2])
def test_nnunet_v1(make_dataset, channels):
    """Version 1 names imagesTr/case.nii.gz where the files are case_0000.nii.gz, ..."""
    v2 = make_dataset("nnunet", 6, channels)
    description = {
        "modality": {str(c): f"MR{c}" for c in range(channels)},
        "labels": {"0": "background", "1": "front", "2": "back"},
        "numTraining": 6,
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in NAMES],
        "test": ["./imagesTs/none.nii.gz"],
    }
    (v2 / "dataset.json").write_text(json.dumps(description))
    dataset = open_dataset(v2)
    assert [case.id for case in dataset.cases] == NAMES
    expected = tuple(v2 / f"imagesTr/case_03_{c:04d}.nii.gz" for c in range(channels))
    assert dataset.cases[3].images == expected
    assert list(said(v2)) == ["nnunet_v1"]
    assert check_dataset(dataset).errors == ()
    expected[-1].unlink()
    with pytest.raises(InputError, match=expected[-1].name if channels > 1 else "case_03"):
        open_dataset(v2)


@OBEYED
def test_channels_as_a_list_of_files(make_dataset, edit_json):
    root = make_dataset("nnunet", 3, 2)
    entries = [
        {"image": [f"imagesTr/{n}_0000.nii.gz", f"imagesTr/{n}_0001.nii.gz"], "label": f"labelsTr/{n}.nii.gz"}
        for n in NAMES[:3]
    ]
    (root / "dataset.json").write_text(
        json.dumps({"modality": {"0": "A", "1": "B"}, "labels": {"0": "x", "1": "y", "2": "z"}, "training": entries})
    )
    assert len(open_dataset(root).cases[1].images) == 2
    assert check_dataset(open_dataset(root)).errors == ()
