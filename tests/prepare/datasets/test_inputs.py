"""The cases of a path: scan files by channel, DICOM folders and zips; one incomplete case never spoils the others."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems import LINKS, POSIX

from unetr.errors import InputError
from unetr.prepare.datasets.cases import Inputs, prediction_inputs
from unetr.prepare.datasets.layouts.files import scans_in

# What the first 132 bytes of a DICOM file are, and enough for a path to be taken for one.
DICOM = bytes(128) + b"DICM"


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def dicom(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(DICOM)
    return folder


def listed(inputs: Inputs) -> list[tuple[str, list[str]]]:
    return [(case.id, [path.name for path in case.images]) for case in inputs.cases]


def test_channels_are_grouped(tmp_path: Path) -> None:
    touch(tmp_path, "b_0001.nii.gz", "b_0000.nii.gz", "a.nii.gz", "scan_2021.nii.gz", ".hidden.nii.gz", "note.txt")
    inputs = prediction_inputs(tmp_path, 2)
    assert listed(inputs) == [
        ("a", ["a.nii.gz"]),
        ("b", ["b_0000.nii.gz", "b_0001.nii.gz"]),
        ("scan_2021", ["scan_2021.nii.gz"]),
    ]
    assert (inputs.problems, inputs.single, inputs.dicom) == ({}, False, False)
    one = prediction_inputs(tmp_path / "b_0001.nii.gz", 2)
    assert one.single and listed(one) == [("b", ["b_0000.nii.gz", "b_0001.nii.gz"])]
    assert listed(prediction_inputs(tmp_path / "scan_2021.nii.gz", 2)) == [("scan_2021", ["scan_2021.nii.gz"])]
    assert listed(prediction_inputs(tmp_path / "b_0000.nii.gz", 1)) == [("b", ["b_0000.nii.gz"])]


def test_a_case_that_is_not_complete_is_a_problem_of_its_own(tmp_path: Path) -> None:
    touch(tmp_path, "good_0000.nii.gz", "good_0001.nii.gz", "half_0001.nii.gz")
    touch(tmp_path, "twice_0000.nii.gz", "twice_0000.nrrd", "twice_0001.nii.gz")
    touch(tmp_path, "two names.nii", "two names.mha", "both.nii.gz", "both_0000.nii.gz", "both_0001.nii.gz")
    inputs = prediction_inputs(tmp_path, 2)
    assert listed(inputs) == [("good", ["good_0000.nii.gz", "good_0001.nii.gz"])]
    expected = {
        "both": ["both.nii.gz", "more than once", "both_0000.nii.gz"],
        "half": ["half_0001.nii.gz", "lacks the channel file half_0000", "expected 2 channels"],
        "twice": ["twice_0000.nrrd", "twice_0000.nii.gz", "both channel 0"],
        "two names": ["two names.mha", "more than once", "two names.nii"],
    }
    assert list(inputs.problems) == list(expected)
    for name, words in expected.items():
        assert all(word in inputs.problems[name] for word in words), inputs.problems[name]
        assert "\n" not in inputs.problems[name]


NAMES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", "_0000", "_0001"]), st.sampled_from([".nii", ".mha"])),
    min_size=1,
    max_size=9,
    unique=True,
)


@settings(max_examples=80, deadline=None)
@given(NAMES)
def test_every_file_is_in_one_case_or_its_case_is_a_problem(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str, str]]
) -> None:
    folder = touch(tmp_path_factory.mktemp("in"), *("".join(parts) for parts in names))
    inputs = prediction_inputs(folder, 2)
    ids = {name for name, _, _ in names}
    assert {case.id for case in inputs.cases} | set(inputs.problems) == ids
    assert not {case.id for case in inputs.cases} & set(inputs.problems)
    for name in ids:
        ends = sorted(end for other, end, _ in names if other == name)
        assert (name in inputs.problems) == (ends not in ([""], ["_0000", "_0001"]))
    used = [path for case in inputs.cases for path in case.images]
    expected = [path for path in scans_in(folder) if path.name[0] not in inputs.problems]
    assert sorted(used) == expected


def test_a_single_scan_that_is_not_complete_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a_0000.nii.gz", "a.nii.gz", "b_0000.nii", "b_0000.nrrd")
    with pytest.raises(InputError, match="a_0001"):
        prediction_inputs(tmp_path / "a_0000.nii.gz", 2)
    with pytest.raises(InputError, match="both channel 0"):
        prediction_inputs(tmp_path / "b_0000.nii", 1)
    # A single file is asked for by its name, so its neighbour is not in the way.
    assert len(prediction_inputs(tmp_path / "a_0000.nii.gz", 1).cases) == 1


@pytest.mark.parametrize(("name", "word"), [("absent", "no such"), ("absent.nii.gz", "no such"), ("", "no scan")])
def test_nothing_to_predict(name: str, word: str, tmp_path: Path) -> None:
    touch(tmp_path, "note.txt", "folder/note.txt")
    with pytest.raises(InputError, match=word):
        prediction_inputs(tmp_path / name, 1)
    with pytest.raises(InputError, match="not named like a scan"):
        prediction_inputs(tmp_path / "note.txt", 1)


def test_a_name_that_is_no_unicode_is_a_problem_that_can_be_written(tmp_path: Path) -> None:
    try:
        touch(tmp_path, os.fsdecode(b"old\xe9.nii.gz"), "good.nii.gz")
    except OSError:
        pytest.skip("this file system has Unicode names only")
    inputs = prediction_inputs(tmp_path, 1)
    assert listed(inputs) == [("good", ["good.nii.gz"])]
    (name,) = inputs.problems
    assert name.encode() == b"old\\udce9" and "Unicode" in inputs.problems[name]


# ---------------------------------------------------------------------------------------------------------------------
# DICOM


@pytest.mark.parametrize("names", [["1.dcm", "2"], ["1.dcm", "more/2.dcm"]])
def test_files_of_dicom_are_one_case(names: list[str], tmp_path: Path) -> None:
    folder = dicom(tmp_path / "study 1.2", *names)
    inputs = prediction_inputs(folder, 1)
    assert listed(inputs) == [("study 1.2", ["study 1.2"])] and inputs.single and inputs.dicom
    one = prediction_inputs(folder / "1.dcm", 1)
    assert listed(one) == [("1", ["1.dcm"])] and one.single and one.dicom


def test_a_folder_is_named_by_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(dicom(tmp_path / "study", "1.dcm"))
    assert [case.id for case in prediction_inputs(Path(), 1).cases] == ["study"]


def test_subfolders_and_zips_of_dicom_are_cases(tmp_path: Path) -> None:
    dicom(tmp_path, "b/1.dcm", "a/deep/er/1.dcm", "a/deep/2.dcm", ".hidden/1.dcm")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("x/1.dcm", DICOM)
    touch(tmp_path, "notes.txt", "empty/readme.txt")
    inputs = prediction_inputs(tmp_path, 1)
    assert listed(inputs) == [("a", ["a"]), ("b", ["b"]), ("c", ["c.zip"])]
    assert inputs.dicom and not inputs.single
    assert list(inputs.problems) == ["empty"] and "holds no DICOM" in inputs.problems["empty"]
    single = prediction_inputs(tmp_path / "c.zip", 1)
    assert listed(single) == [("c", ["c.zip"])] and single.single and single.dicom
    chosen = prediction_inputs(tmp_path, 2, ("1.2", "1.3"))
    assert listed(chosen) == [(tmp_path.name, [tmp_path.name])] and chosen.single and chosen.dicom


def test_a_folder_and_a_zip_of_one_name_are_a_problem(tmp_path: Path) -> None:
    dicom(tmp_path, "a/1.dcm", "b/1.dcm")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("1.dcm", DICOM)
    inputs = prediction_inputs(tmp_path, 1)
    assert [case.id for case in inputs.cases] == ["b"] and "more than once" in inputs.problems["a"]


def test_only_zips(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("1.dcm", DICOM)
    assert listed(prediction_inputs(tmp_path, 1)) == [("a", ["a.zip"]), ("b", ["b.zip"])]


def zip_of(path: Path, name: str, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)


@pytest.mark.fault("folders of scans in several forms")
def test_every_form_is_a_case(tmp_path: Path) -> None:
    touch(dicom(tmp_path, "b/1.dcm", "e/NO SUFFIX", "deep/er/f/1"), "a.nii.gz", "d/scan.nii.gz", "g/x.NRRD", "g/y.mha")
    zip_of(tmp_path / "c.ZIP", "s/1.dcm", DICOM)
    zip_of(tmp_path / "h/1.zip", "1", DICOM)
    touch(tmp_path, "._a.nii.gz", ".hidden/a.nii.gz", "notes.txt", "text/readme.md")
    inputs = prediction_inputs(tmp_path, 1)
    assert listed(inputs) == [
        ("a", ["a.nii.gz"]),
        ("b", ["b"]),
        ("c", ["c.ZIP"]),
        ("d", ["scan.nii.gz"]),
        ("deep", ["deep"]),
        ("e", ["e"]),
        ("g_x", ["x.NRRD"]),
        ("g_y", ["y.mha"]),
        ("h", ["1.zip"]),
    ]
    assert (inputs.problems, inputs.single, inputs.dicom) == ({}, False, True)


@LINKS
@POSIX
@pytest.mark.fault("folders of scans in several forms")
def test_what_looks_like_a_scan_and_is_none_is_named(tmp_path: Path) -> None:
    touch(dicom(tmp_path, "1.dcm", "2"), "a.nii.gz", "b.mgz", "c.hdr", "c.img", "d.mhd", "e.IMA", "sub/f.nii.bz2")
    zip_of(tmp_path / "g.zip", "x/scan.nii.gz", b"")
    zip_of(tmp_path / "code.zip", "main.py", b"")
    (tmp_path / "h.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    (tmp_path / "i.txt").symlink_to(tmp_path / "gone.txt")
    os.mkfifo(tmp_path / "j.nii.gz")
    (tmp_path / "circle").symlink_to(tmp_path)
    inputs = prediction_inputs(tmp_path, 1)
    assert listed(inputs) == [("a", ["a.nii.gz"])]
    words = {
        f"DICOM files in {tmp_path.name}": "one of 2 DICOM files beside scans in other forms",
        "b.mgz": "FreeSurfer",
        "c.hdr": "two-file NIfTI",
        "c.img": "two-file NIfTI",
        "d.mhd": "voxels are in another file",
        "e.IMA": "named like DICOM and is none",
        "g.zip": "an archive of scan files",
        "h.nii.gz": "a link to a file that is not there",
        "j.nii.gz": "not a regular file",
        "sub_f.nii.bz2": "compressed in another way",
    }
    assert {name: words[name] in problem for name, problem in inputs.problems.items()} == dict.fromkeys(words, True)


@pytest.mark.fault("folders of scans in several forms")
@pytest.mark.parametrize(
    "names", [("a.nii.gz", "a/scan.nii.gz"), ("a/x.nii.gz", "a/y.nii.gz", "a_x.nrrd"), ("a/s.nii.gz", "a.mha")]
)
def test_forms_of_one_name_are_named(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(tmp_path, *names)
    inputs = prediction_inputs(tmp_path, 1)
    used = sum(len(case.images) for case in inputs.cases)
    ((problem),) = inputs.problems.values()
    assert "more than once" in problem
    assert used + 2 == len(names)


@pytest.mark.fault("folders of scans in several forms")
def test_results_and_datasets_are_not_scans_to_predict(tmp_path: Path) -> None:
    touch(tmp_path / "scans", "a.nii.gz", "out/a.nii.gz", "theirs/b.nii.gz")
    (tmp_path / "scans/out/report.json").write_text('{"format": "unetr-prediction-report"}')
    (tmp_path / "scans/theirs/report.json").write_text('{"format": "another"}')
    assert [case.id for case in prediction_inputs(tmp_path / "scans", 1).cases] == ["a", "theirs"]
    touch(tmp_path / "data", "images/a.nii.gz", "labels/a.nii.gz")
    touch(tmp_path / "decathlon", "dataset.json", "imagesTs/a.nii.gz", "labelsTr/b.nii.gz")
    for name in ("data", "decathlon"):
        with pytest.raises(InputError, match="is a dataset; expected a folder of scans"):
            prediction_inputs(tmp_path / name, 1)


@pytest.mark.fault("folders of scans in several forms")
def test_channels_in_subfolders(tmp_path: Path) -> None:
    touch(tmp_path, "p1/t_0000.nii.gz", "p1/t_0001.nii.gz", "p2/t_0000.nii.gz")
    inputs = prediction_inputs(tmp_path, 2)
    assert listed(inputs) == [("p1", ["t_0000.nii.gz", "t_0001.nii.gz"])]
    assert list(inputs.problems) == ["p2_t"] and "lacks the channel file" in inputs.problems["p2_t"]


@pytest.mark.parametrize("name", ["", "scan.nii.gz"])
def test_series_are_of_dicom(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "scan.nii.gz")
    with pytest.raises(InputError, match="no series"):
        prediction_inputs(tmp_path / name, 1, ("1.2",))


def test_a_table_of_paths_is_a_batch(tmp_path: Path) -> None:
    touch(tmp_path / "far", "a.nii.gz", "b_0.nii.gz", "b_1.nii.gz")
    table = tmp_path / "cases.csv"
    table.write_text("image_T1,image_T2,id\nfar/b_0.nii.gz,far/b_1.nii.gz,second\nfar/a.nii.gz,far/a.nii.gz,first\n")
    inputs = prediction_inputs(table, 2)
    assert listed(inputs) == [("first", ["a.nii.gz", "a.nii.gz"]), ("second", ["b_0.nii.gz", "b_1.nii.gz"])]
    assert (inputs.single, inputs.dicom, inputs.problems) == (False, False, {})
    (tmp_path / "far/a.nii.gz").unlink()
    with pytest.raises(InputError, match=r"cases.csv: these files do not exist: .*a\.nii\.gz"):
        prediction_inputs(table, 2)
    with pytest.raises(InputError, match="no series to choose from"):
        prediction_inputs(table, 2, ["1.2.3"])
