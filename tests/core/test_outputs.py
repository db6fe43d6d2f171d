"""What may be written: never an input by any name, never twice, never over a person's file; and who may read it."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.systems import LINKS

from unetr.core.files import outputs as outputs_module
from unetr.core.files.atomic import atomic_path, write_text
from unetr.core.files.outputs import LIST, claim, read_list
from unetr.errors import InputError, MachineError

E_ACUTE = "caf\u00e9"


def write(path: Path, text: str) -> None:
    """As a command does."""
    claim([path], overwrite=True)
    write_text(path, text)


def link(path: Path) -> Path:
    (path.parent / "link").symlink_to(path)
    return path.parent / "link"


def hard_link(path: Path) -> Path:
    os.link(path, path.parent / "hard")
    return path.parent / "hard"


def through_folder(path: Path) -> Path:
    (path.parent.parent / "way").symlink_to(path.parent)
    return path.parent.parent / "way" / path.name


OTHER_NAMES: dict[str, Callable[[Path], Path]] = {
    "itself": lambda path: path,
    "relative": lambda path: Path(os.path.relpath(path)),
    "with dots": lambda path: path.parent / ".." / path.parent.name / path.name,
    "link": link,
    "hard link": hard_link,
    "linked folder": through_folder,
    "other case": lambda path: path.with_name(path.name.upper()),
    "decomposed": lambda path: path.with_name(unicodedata.normalize("NFD", path.name)),
    "decomposed and other case": lambda path: path.with_name(unicodedata.normalize("NFD", path.name).title()),
}


@LINKS
@pytest.mark.fault("output is an input")
@pytest.mark.parametrize("other", OTHER_NAMES)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_is_never_an_input(tmp_path: Path, other: str, overwrite: bool) -> None:
    scan = tmp_path / f"in/{E_ACUTE}.nii.gz"
    scan.parent.mkdir()
    scan.touch()
    output = OTHER_NAMES[other](scan)
    with pytest.raises(InputError, match="is a scan and would be overwritten"):
        claim([tmp_path / "free", output], {"a model": [tmp_path / "m"], "a scan": [scan]}, overwrite=overwrite)
    claim([tmp_path / "free", tmp_path / f"{E_ACUTE}.nii.gz"], {"a scan": [scan]})


@pytest.mark.fault("names that collide")
@pytest.mark.parametrize("name", ["a.nii.gz", "A.nii.gz", "a.NII.gz"])
def test_two_outputs_are_never_one_file(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path, tmp_path / "made later"):
        with pytest.raises(InputError, match=r"two cases|only in case or Unicode form"):
            claim([folder / "a.nii.gz", folder / name])
        with pytest.raises(InputError, match="only in case or Unicode form"):
            claim([folder / unicodedata.normalize(form, E_ACUTE) for form in ("NFC", "NFD")])
        claim([folder / "a.nii.gz", folder / "b.nii.gz", tmp_path / "c" / name])


@LINKS
@pytest.mark.fault("overwriting")
def test_a_persons_file_needs_leave_and_our_own_does_not(tmp_path: Path) -> None:
    mine, ours = tmp_path / "mine", tmp_path / "ours"
    mine.write_text("a person's")
    for text in ("first", "second"):
        write(ours, text)
        claim([ours])
    with pytest.raises(InputError, match=r"mine: was not written by unetr, and would be overwritten; .*") as error:
        claim([ours, mine])
    assert error.value.hint == "overwrite"
    claim([ours, mine], overwrite=True)
    ours.write_text("Second")  # of the same length
    with pytest.raises(InputError, match="ours: was changed since unetr wrote it"):
        claim([ours])
    ours.write_text("second")
    claim([ours])
    ours.unlink()
    claim([ours])
    ours.symlink_to(mine)
    with pytest.raises(InputError, match="ours: was changed"):
        claim([ours])


@pytest.mark.fault("overwriting")
def test_results_that_were_moved_or_copied_together_are_known_again(tmp_path: Path) -> None:
    write(tmp_path / "a/x", "x")
    (tmp_path / "a").rename(tmp_path / "b")
    claim([tmp_path / "b/x"])
    (tmp_path / "b/y").write_bytes((tmp_path / "b/x").read_bytes())  # under another name it is a person's
    with pytest.raises(InputError, match="was not written by unetr"):
        claim([tmp_path / "b/y"])


@pytest.mark.fault("overwriting")
def test_a_kill_before_a_file_takes_its_name_leaves_both_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x", "old")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Path, "replace", stop)
        write(tmp_path / "x", "new")
    claim([tmp_path / "x"])
    (tmp_path / "x").write_text("new")
    claim([tmp_path / "x"])


@pytest.mark.fault("overwriting")
@pytest.mark.parametrize("damage", [b"", b"half a line", b"\xff\xfe\n\n  x\n", b"0" * 64 + b"  x\n"])
def test_a_damaged_list_makes_no_file_ours_and_goes_on(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "x").write_text("mine")
    (tmp_path / LIST).write_bytes(damage)
    with pytest.raises(InputError, match="x: was"):
        claim([tmp_path / "x"])
    write(tmp_path / "y", "ours")
    claim([tmp_path / "y"])
    assert len(read_list(tmp_path)["y"]) == 1


def test_what_was_not_claimed_is_in_no_list(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.fault("overwriting")
def test_a_long_list_is_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module, "_LONG", 10)
    for number in range(30):
        write(tmp_path / "report", str(number))
    write(tmp_path / "other", "x")
    claim([tmp_path / "report", tmp_path / "other"])
    assert (tmp_path / LIST).read_bytes().count(b"\n") == 3
    claim([tmp_path / "report", tmp_path / "other"])
    assert [path.name for path in sorted(tmp_path.iterdir())] == [LIST, "other", "report"]


@LINKS
@pytest.mark.fault("overwriting")
def test_a_list_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("text\n")
    (tmp_path / LIST).symlink_to(tmp_path / "precious")
    with pytest.raises(MachineError):
        write(tmp_path / "x", "x")
    assert (tmp_path / "precious").read_text() == "text\n" and not (tmp_path / "x").exists()


@pytest.mark.fault("readable by others")
@pytest.mark.parametrize("private", [True, False])
def test_what_is_private_is_so_from_the_first_byte(tmp_path: Path, private: bool) -> None:
    before = os.umask(0o022)
    try:
        path = tmp_path / "new folder/file"
        modes = []
        claim([path])
        with atomic_path(path, private=private) as temporary:
            temporary.write_text("x")
            modes = [temporary.stat().st_mode, path.parent.stat().st_mode, path.with_name(LIST)]
        modes = [stat.S_IMODE(mode) for mode in (*modes[:2], path.stat().st_mode, path.with_name(LIST).stat().st_mode)]
    finally:
        os.umask(before)
    assert modes == ([0o600, 0o700, 0o600, 0o600] if private else [0o644, 0o755, 0o644, 0o600])
