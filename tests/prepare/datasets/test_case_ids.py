"""Ids of cases, and files of tables and lists, that are not what they should be."""

from __future__ import annotations

import json
import unicodedata

import nibabel
import numpy as np
import pytest
from tests.systems import LINKS

from unetr.errors import InputError
from unetr.prepare.checks.check import check_dataset
from unetr.prepare.datasets.cases import open_dataset, prediction_inputs


@pytest.mark.fault("byte order mark")
@pytest.mark.parametrize("layout", ["decathlon", "nnunet", "folders", "csv"])
def test_a_byte_order_mark_is_no_text(make_dataset, layout):
    path = make_dataset(layout)
    root = path if path.is_dir() else path.parent
    before = open_dataset(path)
    for file in [*root.glob("*.json"), *root.glob("*.csv")]:
        file.write_text(file.read_text(), encoding="utf-8-sig")
    assert open_dataset(path) == before
    described = next(iter([*root.glob("*.json"), *root.glob("*.csv")]))
    described.write_text(described.read_text(encoding="utf-8-sig"), encoding="utf-16")
    with pytest.raises(InputError, match="UTF-16"):
        open_dataset(path)


@pytest.mark.fault("alike names")
@pytest.mark.parametrize(("one", "other"), [("scan_a", "Scan_A"), ("k\u00f6rper", "ko\u0308rper"), ("É", "e\u0301")])
@pytest.mark.parametrize("layout", ["decathlon", "nnunet", "folders", "csv"])
def test_ids_that_are_one_file_name_elsewhere(make_dataset, edit_json, layout, one, other):
    path = make_dataset(layout)
    root = path if path.is_dir() else path.parent
    assert unicodedata.normalize("NFC", one).casefold() == unicodedata.normalize("NFC", other).casefold()
    for before, after in (("case_00", one), ("case_01", other)):
        for file in [*root.glob(f"*/{before}.nii.gz"), *root.glob(f"*/{before}_0000.nii.gz")]:
            file.rename(file.with_name(file.name.replace(before, after)))
        for file in [*root.glob("dataset.json"), *root.glob("*.csv")]:
            file.write_text(file.read_text().replace(before, after))
    with pytest.raises(InputError, match="differ only in"):
        open_dataset(path)


@LINKS
@pytest.mark.fault("dataset.json lists")
@pytest.mark.parametrize("how", ["same path", "link", "hard link"])
def test_an_image_that_is_its_own_label(make_dataset, how):
    table = make_dataset("csv", 2)
    label = table.parent / "truth/0.nii.gz"
    other = {"same path": label, "link": table.parent / "l.nii.gz", "hard link": table.parent / "h.nii.gz"}[how]
    if how == "link":
        other.symlink_to(label)
    if how == "hard link":
        other.hardlink_to(label)
    table.write_text(f"image,label\n{other},{label}\nscans/1_0.nii.gz,truth/1.nii.gz\n")
    with pytest.raises(InputError, match="as its image and as its label"):
        open_dataset(table)


@pytest.mark.fault("dataset.json lists")
@pytest.mark.parametrize("name", ["a/b", "a\\b", "..", ".hidden", "a\tb", "a\x7fb", "a\x9bb", "", "a\nb"])
def test_an_id_that_is_no_file_name(make_dataset, edit_json, name):
    root = make_dataset("nnunet", 2)
    entry = {"images": ["imagesTr/case_01_0000.nii.gz"], "label": "labelsTr/case_01.nii.gz"}
    edit_json(root / "dataset.json", dataset={name: entry})
    with pytest.raises(InputError, match="case id") as caught:
        open_dataset(root)
    assert str(caught.value).isprintable()


@pytest.mark.fault("dataset.json lists")
def test_repeated_ids_of_a_table(make_dataset):
    table = make_dataset("csv", 3)
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows, rows[1].replace("0_0", "1_0")]) + "\n")
    for read in (open_dataset, lambda path: prediction_inputs(path, 1)):
        with pytest.raises(InputError, match="more than once"):
            read(table)


@pytest.mark.fault("dataset.json obeyed")
@pytest.mark.parametrize("command", ["plan", "train"])
def test_it_is_said_once(make_dataset, edit_json, unetr, tmp_path, command):
    root = make_dataset("decathlon")
    edit_json(root / "dataset.json", numTraining=50, labels={"0": "background", "1": "front", "2": "\x1b[31mback"})
    options = ["--steps", 1, "--preset", "nothing"] if command == "train" else ["--preset", "tiny"]
    outcome = unetr(command, root, "-o", tmp_path / "out", *options)
    assert outcome.err.count("numTraining is 50") == 1


@pytest.mark.fault("dataset.json lists")
def test_a_table_with_the_separators_of_windows(make_dataset):
    table = make_dataset("csv", 3)
    before = open_dataset(table)
    table.write_text(table.read_text().replace("scans/", ".\\scans\\").replace("truth/", "truth\\"))
    assert [(case.id, case.images[0].name) for case in open_dataset(table).cases] == [
        (case.id, case.images[0].name) for case in before.cases
    ]
    assert check_dataset(open_dataset(table)).errors == ()


@pytest.mark.fault("names of labels and channels")
@pytest.mark.parametrize("name", ["", "x" * 256, "x" * 100_000])
def test_a_name_in_a_header_that_cannot_be_one(make_dataset, name):
    """It is a remark of another program's, and no reason to refuse the labels."""
    folders = make_dataset("folders", 2)
    (folders / "labels.json").unlink()
    for path in folders.glob("labels/*.nii.gz"):
        image = nibabel.load(path)
        text = json.dumps({"unetr_label_names": {"1": name, "2": "back"}}).encode()
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", text))
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj).astype(np.uint8), image.affine, image.header), path)
    assert open_dataset(folders).labels == {"background": 0, "label_1": 1, "back": 2}
