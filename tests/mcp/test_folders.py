"""Paths: only those in the named folders, however they are spelled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.systems import LINKS, POSIX

from unetr.errors import InputError
from unetr.mcp.folders import open_folders, plain_name


@pytest.fixture
def linked(room: Path) -> Path:
    """The room with links from scans/ to within and without."""
    (room / "scans" / "within.nii.gz").symlink_to(room / "scans" / "scan.nii.gz")
    (room / "scans" / "out.nii.gz").symlink_to(room / "secret" / "other.nii.gz")
    (room / "scans" / "up").symlink_to(room / "secret")
    (room / "scans" / "loop").symlink_to(room / "scans" / "loop")
    return room


@LINKS
def test_what_lies_in_the_folders_is_found(linked: Path) -> None:
    folders = open_folders([linked / "scans"], linked / "results")
    scan = linked / "scans" / "scan.nii.gz"
    assert folders.find(str(scan)) == folders.find("scan.nii.gz") == folders.find("./within.nii.gz") == scan
    assert folders.find(str(linked / "scans")) == linked / "scans"
    (linked / "results" / "made.nii.gz").touch()
    assert folders.find("made.nii.gz") == linked / "results" / "made.nii.gz"


@LINKS
@pytest.mark.parametrize(
    "told",
    [
        "{room}/secret/other.nii.gz",
        "{room}/secret/absent.nii.gz",
        "{room}/scans/../secret/other.nii.gz",
        "../secret/other.nii.gz",
        "..",
        "..\\secret\\other.nii.gz",
        "up/other.nii.gz",
        "out.nii.gz",
        "up",
        "loop",
        "/etc/passwd",
        "//host/share/scan.nii.gz",
        "\\\\host\\share\\scan.nii.gz",
        "~/scan.nii.gz",
        "NUL",
        "con.nii.gz",
        "folder/COM1.nii",
        "{room}/SCANS/scan.nii.gz",
        "{room}/scans-of-others/scan.nii.gz",
        "scan.nii.gz\0.txt",
        "a\nb",
        "",
        " ",
        "x" * 5000,
        "absent.nii.gz",
    ],
)
def test_what_lies_elsewhere_is_refused_in_words(linked: Path, told: str) -> None:
    if told.startswith("{room}/SCANS") and (linked / "SCANS").exists():
        pytest.skip("this file system does not tell capitals apart")
    folders = open_folders([linked / "scans"], linked / "results")
    with pytest.raises(InputError) as refused:
        folders.find(told.format(room=linked))
    assert "expected" in str(refused.value) or "no such file" in str(refused.value)
    assert str(linked / "secret") not in str(refused.value).replace(told.format(room=linked), "")


@LINKS
def test_what_is_outside_is_answered_alike_whether_it_is_there_or_not(linked: Path) -> None:
    folders = open_folders([linked / "scans"])
    answers = []
    for name in ("other.nii.gz", "absent.nii.gz"):
        with pytest.raises(InputError) as refused:
            folders.find(f"{linked}/secret/{name}")
        answers.append(str(refused.value).replace(name, ""))
    assert answers[0] == answers[1]


@LINKS
@POSIX
def test_a_folder_with_links_out_of_it_or_pipes_is_no_scan(linked: Path) -> None:
    folders = open_folders([linked / "scans"])
    with pytest.raises(InputError, match="by a link"):
        folders.check_below(linked / "scans")
    (linked / "scans" / "fine").mkdir()
    folders.check_below(linked / "scans" / "fine")
    os.mkfifo(linked / "scans" / "fine" / "pipe.dcm")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        folders.check_below(linked / "scans" / "fine")


@pytest.mark.parametrize("name", ["a/b", "a\\b", "..", ".hidden", "nul", "Aux.1", "end.", "end ", "", "é", "a" * 101])
def test_a_result_has_a_plain_name(room: Path, name: str) -> None:
    folders = open_folders([room / "scans"], room / "results")
    with pytest.raises(InputError, match="is no name for a result"):
        folders.result(name)


def test_without_a_folder_for_results_nothing_is_written(room: Path) -> None:
    with pytest.raises(InputError, match="nothing can be written"):
        open_folders([room / "scans"]).result("fine")


def test_a_name_is_made_of_any_files_name(room: Path) -> None:
    folders = open_folders([room / "scans"], room / "results")
    for name in ("scan", "Größe 2", "..", "nul", "con.x", "-", "a" * 300, "\u202e", "end."):
        assert folders.result(plain_name(Path(name))).parent == room / "results"


def test_folders_that_are_none_are_refused_at_the_start(room: Path) -> None:
    for read, out in (([], None), ([room / "absent"], None), ([room / "scans"], room / "scans" / "scan.nii.gz")):
        with pytest.raises(InputError):
            open_folders(read, out)
