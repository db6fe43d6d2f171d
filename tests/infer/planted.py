"""What others could do to the file of a compiled network, or to the folders around it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unetr.model.file.sealed import read_sealed, write_sealed

KEY = "ab" * 32


def renamed(old: Path, new: Path) -> None:
    new.write_bytes(old.read_bytes())


def resealed_for_another_key(old: Path, new: Path) -> None:
    arrays, _ = read_sealed(old, "unetr-compiled")
    write_sealed(new, arrays, {"format": "unetr-compiled", "key": "0" * 64})


def resealed_without_key(old: Path, new: Path) -> None:
    arrays, _ = read_sealed(old, "unetr-compiled")
    write_sealed(new, arrays, {"format": "unetr-compiled"})


def flipped(old: Path, new: Path) -> None:
    data = bytearray(new.read_bytes())
    data[len(data) // 2] ^= 1
    new.write_bytes(data)


def cut(old: Path, new: Path) -> None:
    new.write_bytes(new.read_bytes()[:-100])


def empty(old: Path, new: Path) -> None:
    new.write_bytes(b"")


def folder_in_its_place(old: Path, new: Path) -> None:
    new.unlink()
    new.mkdir()


def pipe_in_its_place(old: Path, new: Path) -> None:
    new.unlink()
    os.mkfifo(new)


def for_this_key(old: Path, elsewhere: Path, key: str) -> None:
    """The other network sealed as if it were this one's: what an attacker would make."""
    arrays, _ = read_sealed(old, "unetr-compiled")
    write_sealed(elsewhere, arrays, {"format": "unetr-compiled", "key": key})


def linked(old: Path, new: Path) -> None:
    elsewhere = new.parents[3] / "planted"
    for_this_key(old, elsewhere, new.stem)
    new.unlink()
    new.symlink_to(elsewhere)


def hard_linked(old: Path, new: Path) -> None:
    elsewhere = new.parents[3] / "planted"
    for_this_key(old, elsewhere, new.stem)
    new.unlink()
    new.hardlink_to(elsewhere)


def writable_by_others(old: Path, new: Path) -> None:
    for_this_key(old, new, new.stem)
    new.chmod(0o666)


def folder_writable_by_others(old: Path, new: Path) -> None:
    for_this_key(old, new, new.stem)
    new.parent.chmod(0o777)


def folder_a_link(old: Path, new: Path) -> None:
    for_this_key(old, new, new.stem)
    new.parent.rename(new.parents[3] / "planted")
    new.parent.symlink_to(new.parents[3] / "planted")


def outer_folder_a_link(old: Path, new: Path) -> None:
    for_this_key(old, new, new.stem)
    new.parents[1].rename(new.parents[3] / "planted")
    new.parents[1].symlink_to(new.parents[3] / "planted")


def other_owner(old: Path, new: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    for_this_key(old, new, new.stem)
    os.chown(new, 12345, 12345)


def folder_of_another_owner(old: Path, new: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    for_this_key(old, new, new.stem)
    os.chown(new.parent, 12345, 12345)
