"""All-or-nothing writing: what is left in the folder after success, failure and refusal."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.power_cut import Disk

from unetr.core.files.atomic import atomic_path, remove_leftovers, write_text
from unetr.core.files.private import private_folder
from unetr.core.text.reading import read_text
from unetr.errors import InputError, MachineError


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_text_round_trip_and_nothing_else_left(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "größe.txt"
    write_text(path, "Voxelgröße 1 mm\n")
    assert read_text(path, "a text") == "Voxelgröße 1 mm\n"
    assert names_in(path.parent) == ["größe.txt"]


def test_the_temporary_file_is_hidden_beside_and_keeps_the_suffixes(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "case.v1.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".") and temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"x")
    assert names_in(tmp_path) == ["case.v1.nii.gz"]


def test_what_was_written_outlasts_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    write_text(tmp_path / "out.txt", "words")
    assert disk.has_under_its_name(tmp_path / "out.txt", tmp_path)


class Stop(BaseException):
    """Stands for KeyboardInterrupt and SystemExit."""


@pytest.mark.parametrize("failure", [ValueError, Stop, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failure_half_way_changes_nothing(tmp_path: Path, failure: type[BaseException], existing: bool) -> None:
    path = tmp_path / "out.txt"
    if existing:
        path.write_text("old")
    with pytest.raises(failure), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise failure
    assert names_in(tmp_path) == (["out.txt"] if existing else [])
    assert not existing or path.read_text() == "old"


def test_verify_sees_the_whole_file_and_its_failure_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    seen = []

    def verify(temporary: Path) -> None:
        seen.append(temporary.read_text())
        raise MachineError("not what was meant")

    with pytest.raises(MachineError, match="not what was meant"), atomic_path(path, verify) as temporary:
        temporary.write_text("new")
    assert seen == ["new"]
    assert names_in(tmp_path) == ["out.txt"] and path.read_text() == "old"


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota")]
)
def test_refusals_of_the_machine_are_one_line(tmp_path: Path, code: int, words: str) -> None:
    with pytest.raises(MachineError, match=words) as caught, atomic_path(tmp_path / "out.txt") as temporary:
        temporary.write_text("half")
        raise OSError(code, os.strerror(code))
    assert "out.txt" in str(caught.value) and "\n" not in str(caught.value)
    assert names_in(tmp_path) == []


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "out.txt").mkdir()
    with pytest.raises(MachineError, match=r"out\.txt.*folder"):
        write_text(tmp_path / "out.txt", "new")
    assert names_in(tmp_path) == ["out.txt"]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(MachineError, match=r"out.txt.*is a file, not a folder"):
        write_text(tmp_path / "results" / "out.txt", "new")
    with pytest.raises(MachineError, match=r"results"):
        write_text(tmp_path / "results" / "deeper" / "out.txt", "new")
    assert names_in(tmp_path) == ["results"]


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="too long"):
        write_text(tmp_path / ("x" * 300 + ".txt"), "new")
    assert names_in(tmp_path) == []


def test_a_long_name_with_a_dot_in_it(tmp_path: Path) -> None:
    path = tmp_path / ("Visit 2. " + "x" * 240 + ".nii")
    write_text(path, "new")
    assert names_in(tmp_path) == [path.name]


def test_reading_what_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plan\.yaml: no such file; expected a plan"):
        read_text(tmp_path / "plan.yaml", "a plan")
    (tmp_path / "plan.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"plan\.yaml: cannot be read as a plan"):
        read_text(tmp_path / "plan.yaml", "a plan")
    with pytest.raises(InputError, match="cannot be read as a plan"):
        read_text(tmp_path, "a plan")


def test_only_our_leftovers_are_removed(tmp_path: Path) -> None:
    ours = [".unetr-0123456789ab.nii.gz", ".unetr-ffffffffffff.json", ".unetr-000000000000"]
    others = [".unetr-cache", "scan.nii.gz", ".unetr-0123456789abc.nii", "x.unetr-0123456789ab.nii", ".hidden"]
    for name in ours + others:
        (tmp_path / name).touch()
    (tmp_path / ".unetr-0123456789aa").mkdir()
    remove_leftovers([tmp_path, tmp_path / "absent"])
    assert {path.name for path in tmp_path.iterdir()} == {*others, ".unetr-0123456789aa"}


def test_a_user_without_a_home_has_no_private_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user is a number that its system does not know."""

    def unknown(*_: object, **__: object) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("unetr.core.files.private.user_cache_path", unknown)
    assert private_folder("compiled") is None
