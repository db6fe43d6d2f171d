"""Every layout gives the same cases, and every malformed description ends in one line that names the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unetr.core.plan.schema import Region
from unetr.errors import InputError
from unetr.prepare.datasets.cases import LAYOUTS, open_dataset, read_case

SHAPE = (14, 12, 10)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - {"btcv"}))  # whose labels are given: test_recipes.py
def test_every_layout_gives_the_same_cases(make_dataset, layout, channels):
    dataset = open_dataset(make_dataset(layout, 6, channels))
    assert dataset.layout == layout
    assert [case.id for case in dataset.cases] == [f"case_{i:02d}" for i in range(6)]
    assert dataset.labels == {"background": 0, "front": 1, "back": 2}
    assert len(dataset.channel_names) == channels
    image, label = read_case(dataset.cases[3], dataset)
    assert image.data.shape == (channels, *SHAPE)
    assert image.data.dtype == np.float32
    assert label is not None and label.data.shape == (1, *SHAPE)
    assert set(np.unique(label.data)) == {0, 1, 2}
    if channels == 1:
        assert np.array_equal(image.data[0], np.random.default_rng(3).normal(100, 20, SHAPE).astype(np.float32))


@pytest.mark.parametrize("layout", ["nnunet", "folders", "csv"])
def test_channel_files_are_stacked_in_order(make_dataset, layout):
    dataset = open_dataset(make_dataset(layout, 6, 2))
    image, _ = read_case(dataset.cases[2], dataset)
    for channel, seed in enumerate((2, 102)):
        expected = np.random.default_rng(seed).normal(100, 20, SHAPE).astype(np.float32)
        assert np.array_equal(image.data[channel], expected)


def test_what_the_description_says_is_kept(make_dataset):
    dataset = open_dataset(make_dataset("decathlon"))
    assert (dataset.name, dataset.licence, dataset.reference) == ("Synthetic", "CC0", "Nobody et al.")
    assert dataset.channel_names == ("MR0",)
    assert open_dataset(dataset.root / "dataset.json") == dataset


def test_label_names_are_found_in_the_data_without_a_sidecar(make_dataset):
    folders = make_dataset("folders")
    (folders / "labels.json").unlink()
    assert open_dataset(folders).labels == {"background": 0, "label_1": 1, "label_2": 2}


def test_four_digits_of_the_name_are_not_a_channel(make_dataset):
    folders = make_dataset("folders", 2)
    for kind in ("images", "labels"):
        (folders / kind / "case_00.nii.gz").rename(folders / kind / "scan_2021.nii.gz")
    assert [case.id for case in open_dataset(folders).cases] == ["case_01", "scan_2021"]


def test_nnunet_regions_and_ignore_label(make_dataset, edit_json):
    root = make_dataset("nnunet")
    labels = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    edit_json(root / "dataset.json", labels=labels, regions_class_order=[1, 2])
    dataset = open_dataset(root)
    assert dataset.labels == {"background": 0, "label_1": 1, "core": 2}
    assert dataset.regions == (
        Region(name="whole", labels=(1, 2), written_as=1),
        Region(name="core", labels=(2,), written_as=2),
    )
    assert dataset.ignore_label == 3
    assert set(dataset.allowed_values) == {0, 1, 2, 3}


def test_csv_columns(make_dataset):
    table = make_dataset("csv", 4)
    table.write_text(
        "\ufeffID;Image_CT;Label;Subject;Fold\n"
        "a;scans/0_0.nii.gz;truth/0.nii.gz;ann;0\n\n"
        f"b;{table.parent / 'scans/1_0.nii.gz'};;bob;1\n"
    )
    dataset = open_dataset(table)
    assert dataset.channel_names == ("CT",)
    first, second = dataset.cases
    assert (first.id, first.subject, first.fold) == ("a", "ann", 0)
    assert second.label is None
    assert dataset.labelled == (first,)
    assert read_case(second, dataset)[1] is None


# Changes to a good dataset.json, and a word that the one-line error must have.
BAD_DECATHLON = {
    "no modality or training": ({"modality": ..., "training": ...}, "modality"),
    "no labels": ({"labels": ...}, "labels"),
    "labels a list": ({"labels": ["background", "front"]}, "labels"),
    "label value not an integer": ({"labels": {"0": "background", "one": "front"}}, "one"),
    "label value a fraction": ({"labels": {"0": "background", "1.5": "front"}}, "1.5"),
    "label name not text": ({"labels": {"0": "background", "1": 7}}, "'1'"),
    "label name twice": ({"labels": {"0": "background", "1": "front", "2": "front"}}, "front"),
    "label value too large": ({"labels": {"0": "background", "99999": "front"}}, "99999"),
    "background not 0": ({"labels": {"1": "background", "2": "front"}}, "background"),
    "only background": ({"labels": {"0": "background"}}, "background"),
    "channels not numbered": ({"modality": {"MR": "0"}}, "modality"),
    "channels with a gap": ({"modality": {"0": "T1", "2": "T2"}}, "modality"),
    "training empty": ({"training": []}, "training"),
    "training of paths": ({"training": ["imagesTr/case_00.nii.gz"]}, "training"),
    "entry without a label": ({"training": [{"image": "imagesTr/case_00.nii.gz"}]}, "training"),
    "parent folder": ({"training": [{"image": "../x.nii.gz", "label": "labelsTr/case_00.nii.gz"}]}, "../x.nii.gz"),
    "inner parent": ({"training": [{"image": "a/../../x.nii.gz", "label": "labelsTr/case_00.nii.gz"}]}, "leaves"),
    "backslash parent": ({"training": [{"image": "..\\x.nii.gz", "label": "labelsTr/case_00.nii.gz"}]}, "leaves"),
    "absolute": ({"training": [{"image": "/etc/passwd", "label": "labelsTr/case_00.nii.gz"}]}, "/etc/passwd"),
    "drive": ({"training": [{"image": "C:/x.nii.gz", "label": "labelsTr/case_00.nii.gz"}]}, "leaves"),
    "path not text": ({"training": [{"image": 3, "label": "labelsTr/case_00.nii.gz"}]}, "3"),
    "zero byte": ({"training": [{"image": "a\0.nii.gz", "label": "labelsTr/case_00.nii.gz"}]}, "file name"),
    "hidden id": ({"training": [{"image": "imagesTr/.x.nii.gz", "label": "labelsTr/case_00.nii.gz"}]}, "case id"),
    "missing file": ({"training": [{"image": "no.nii.gz", "label": "labelsTr/case_00.nii.gz"}]}, "no.nii.gz"),
    "duplicated id": ({"training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}] * 2}, "once"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "word"), BAD_DECATHLON.values(), ids=BAD_DECATHLON)
def test_bad_decathlon_description(make_dataset, edit_json, changes, word):
    root = make_dataset("decathlon", 2)
    edit_json(root / "dataset.json", **changes)
    _assert_one_line(root, "dataset.json", word)


BAD_NNUNET = {
    "channel names not numbered": ({"channel_names": {"1": "MR"}}, "channel_names"),
    "no file ending": ({"file_ending": ...}, "file_ending"),
    "strange file ending": ({"file_ending": "/../x"}, "file_ending"),
    "label text": ({"labels": {"background": 0, "front": "1"}}, "front"),
    "label true": ({"labels": {"background": 0, "front": True}}, "front"),
    "label fraction": ({"labels": {"background": 0, "front": 1.0}}, "front"),
    "label negative": ({"labels": {"background": 0, "front": -1}}, "-1"),
    "background not 0": ({"labels": {"background": 1, "front": 2}}, "background"),
    "value twice": ({"labels": {"background": 0, "front": 1, "back": 1}}, "1"),
    "regions without an order": ({"labels": {"background": 0, "whole": [1, 2]}}, "regions_class_order"),
    "order too short": ({"labels": {"background": 0, "a": [1, 2], "b": 2}, "regions_class_order": [1]}, "2 values"),
    "order with 0": ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [0]}, "above 0"),
    "region empty": ({"labels": {"background": 0, "a": []}, "regions_class_order": [1]}, "empty"),
    "missing channel files": ({"channel_names": {"0": "T1", "1": "T2"}}, "_0001.nii.gz"),
}


@pytest.mark.parametrize(("changes", "word"), BAD_NNUNET.values(), ids=BAD_NNUNET)
def test_bad_nnunet_description(make_dataset, edit_json, changes, word):
    root = make_dataset("nnunet", 2)
    edit_json(root / "dataset.json", **changes)
    _assert_one_line(root, "dataset.json", word)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("not json {", "JSON"),
        ("[1, 2]", "object"),
        ("", "JSON"),
        ('{"labels": {"0": "a"}, "labels": {}}', "twice"),
        ("[" * 100_000, "JSON"),
    ],
    ids=["text", "list", "empty", "repeated key", "deep"],
)
def test_dataset_json_that_is_none(make_dataset, text, word):
    root = make_dataset("decathlon", 2)
    (root / "dataset.json").write_text(text)
    _assert_one_line(root, "dataset.json", word)


BAD_CSV = {
    "no image column": ("scan,label\na,b\n", "image"),
    "unknown column": ("image,label,folds\na,b,0\n", "folds"),
    "column twice": ("image,label,label\na,b,c\n", "once"),
    "empty": ("", "image"),
    "only a header": ("image,label\n", "no case"),
    "short row": ("image,label\nscans/0_0.nii.gz\n", "row 2"),
    "empty path": ("image,label\n,truth/0.nii.gz\n", "row 2"),
    "fold not a number": ("image,label,fold\nscans/0_0.nii.gz,truth/0.nii.gz,first\n", "first"),
    "id with a separator": ("image,label,id\nscans/0_0.nii.gz,truth/0.nii.gz,../x\n", "case id"),
    "missing file": ("image,label\nscans/9.nii.gz,truth/0.nii.gz\n", "9.nii.gz"),
    "no label at all": ("image\nscans/0_0.nii.gz\n", "label"),
    "same id": ("image,id\nscans/0_0.nii.gz,a\nscans/1_0.nii.gz,a\n", "more than once"),
}


@pytest.mark.parametrize(("text", "word"), BAD_CSV.values(), ids=BAD_CSV)
def test_bad_csv(make_dataset, text, word):
    table = make_dataset("csv", 2)
    (table.parent / "table.labels.json").unlink()
    table.write_text(text)
    _assert_one_line(table, "table.csv", word)


def test_bad_label_names(make_dataset):
    root = make_dataset("folders", 2)
    (root / "labels.json").write_text('{"front": "1"}')
    _assert_one_line(root, "labels.json", "whole numbers")


def test_folders_that_do_not_pair(make_dataset):
    root = make_dataset("folders", 3, 2)
    (root / "images/case_02_0001.nii.gz").unlink()
    _assert_one_line(root, "case_02", "1 image files")
    (root / "images/case_02_0000.nii.gz").unlink()
    _assert_one_line(root, "case_02", "not both")


def test_nothing_recognised_lists_what_was_looked_for(tmp_path):
    _assert_one_line(tmp_path, "dataset.json", "images and labels")
    _assert_one_line(tmp_path / "absent", "absent", "no such")


def test_read_case_refuses_what_does_not_fit(make_dataset, save_scan, edit_json):
    root = make_dataset("decathlon", 3)
    save_scan(root / "labelsTr/case_00.nii.gz", np.ones(SHAPE, np.uint8), np.diag([2.0, 1, 1, 1]))
    save_scan(root / "labelsTr/case_01.nii.gz", np.full(SHAPE, 7, np.uint8))
    save_scan(root / "imagesTr/case_02.nii.gz", np.ones((*SHAPE, 3), np.float32))
    dataset = open_dataset(root)
    for case, word in zip(dataset.cases, ("mm", "7", "channels"), strict=True):
        with pytest.raises(InputError, match=word):
            read_case(case, dataset)


def test_read_case_refuses_channels_on_different_grids(make_dataset, save_scan):
    root = make_dataset("nnunet", 2, 2)
    save_scan(root / "imagesTr/case_00_0001.nii.gz", np.ones((5, 5, 5), np.float32))
    dataset = open_dataset(root)
    with pytest.raises(InputError, match="_0001"):
        read_case(dataset.cases[0], dataset)


def test_several_channels_in_one_of_several_files_are_refused(make_dataset, save_scan):
    root = make_dataset("nnunet", 2, 2)
    save_scan(root / "imagesTr/case_00_0001.nii.gz", np.ones((*SHAPE, 2), np.float32))
    dataset = open_dataset(root)
    with pytest.raises(InputError, match=r"_0001.* 2 channels; expected 1"):
        read_case(dataset.cases[0], dataset)


def test_read_case_refuses_values_that_float32_cannot_hold(make_dataset, save_scan):
    root = make_dataset("decathlon", 2)
    save_scan(root / "imagesTr/case_00.nii.gz", np.full(SHAPE, 1e300))
    dataset = open_dataset(root)
    with pytest.raises(InputError, match="float32"):
        read_case(dataset.cases[0], dataset)


def _assert_one_line(path: Path, file: str, word: str) -> None:
    with pytest.raises(InputError) as caught:
        open_dataset(path)
    message = str(caught.value)
    assert file in message
    assert word in message
    assert "\n" not in message
    assert len(json.dumps(message)) < 600


def test_a_csv_names_the_channels_of_one_file_and_its_licence(make_dataset):
    table = make_dataset("csv", 2, 2)
    rows = ["image_T1+FLAIR,label", "both_0.nii.gz,truth/0.nii.gz", "both_1.nii.gz,truth/1.nii.gz"]
    import nibabel

    for number in range(2):
        channels = [np.asarray(nibabel.load(table.parent / f"scans/{number}_{c}.nii.gz").dataobj) for c in range(2)]
        nibabel.save(nibabel.Nifti1Image(np.stack(channels, axis=3), np.eye(4)), table.parent / f"both_{number}.nii.gz")
    table.write_text("\n".join(rows) + "\n")
    about = table.parent / "table.about.json"
    about.write_text(json.dumps({"licence": "CC0", "reference": "Doe"}))
    dataset = open_dataset(table)
    assert dataset.channel_names == ("T1", "FLAIR")
    assert (dataset.licence, dataset.reference) == ("CC0", "Doe")
    about.write_text(json.dumps({"colour": "blue"}))
    with pytest.raises(InputError, match=r"table.about.json: expected texts"):
        open_dataset(table)
