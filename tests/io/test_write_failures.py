"""A failed write leaves what was there, leaves nothing else, and says so in one line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.systems import POSIX

from unetr.core.space.volume import Volume
from unetr.errors import InputError, MachineError
from unetr.io import FORMATS, Format, read_volume, write_volume

SUFFIXES = list(FORMATS)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def noise() -> Volume:
    """400 KB that do not compress: more than the tiny disk holds."""
    data = np.random.default_rng(0).integers(-32768, 32767, (1, 60, 60, 60), dtype=np.int16)
    return Volume(data, np.eye(4))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_disk_full(suffix: str, noise: Volume, oblique: Volume, tiny_disk: Path) -> None:
    path = tiny_disk / f"scan{suffix}"
    write_volume(path, oblique)
    before = path.read_bytes()
    with pytest.raises(MachineError, match=rf"scan{suffix}: cannot be written: the disk is full"):
        write_volume(path, noise)
    assert names_in(tiny_disk) == [path.name] and path.read_bytes() == before


def test_read_only_disk(oblique: Volume, tiny_disk: Path) -> None:
    write_volume(tiny_disk / "old.nii", oblique)
    if subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], capture_output=True, check=False).returncode:
        pytest.skip("remounting read-only is not permitted")
    for name in ("old.nii", "new.nii.gz", "folder/new.mha"):
        with pytest.raises(MachineError, match=rf"{name}: cannot be written: the file system is read-only"):
            write_volume(tiny_disk / name, oblique)
    assert np.array_equal(read_volume(tiny_disk / "old.nii").data, oblique.data)


@POSIX
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write to read-only folders")
def test_read_only_folder(oblique: Volume, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(MachineError, match="permission denied"):
            write_volume(tmp_path / "scan.nii.gz", oblique)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, in which nobody may make files")
def test_folder_that_refuses_even_root(oblique: Volume) -> None:
    with pytest.raises(MachineError, match=r"scan\.nii\.gz: cannot be written"):
        write_volume(Path("/proc/self/scan.nii.gz"), oblique)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("existing", [True, False])
def test_what_does_not_read_back_is_not_kept(
    suffix: str, existing: bool, oblique: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that swallows the end, changes a voxel, or stores another place."""
    path = tmp_path / f"scan{suffix}"
    if existing:
        write_volume(path, oblique)
    before = path.read_bytes() if existing else b""
    sound = FORMATS[suffix]

    def truncated(temporary: Path, volume: Volume) -> None:
        sound.write(temporary, volume)
        temporary.write_bytes(temporary.read_bytes()[:-1])

    def other_voxel(temporary: Path, volume: Volume) -> None:
        data = volume.data.copy()
        data[0, 1, 1, 1] += 1
        sound.write(temporary, volume.with_data(data))

    def other_place(temporary: Path, volume: Volume) -> None:
        affine = volume.affine.copy()
        affine[1, 3] += 0.1
        sound.write(temporary, volume.with_data(volume.data, affine=affine))

    def interrupted(temporary: Path, volume: Volume) -> None:
        truncated(temporary, volume)
        raise KeyboardInterrupt

    failures = {
        truncated: MachineError,
        other_voxel: MachineError,
        other_place: MachineError,
        interrupted: KeyboardInterrupt,
    }
    for write, error in failures.items():
        monkeypatch.setitem(FORMATS, suffix, Format(sound.read, write))
        with pytest.raises(error):
            write_volume(path, oblique)
        assert names_in(tmp_path) == ([path.name] if existing else [])
        assert not existing or path.read_bytes() == before


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.full((1, 3, 3, 3), np.nan), "27 voxels are NaN"),
        (np.full((1, 3, 3, 3), 1e300), "beyond float32"),
        (np.ones((1, 3, 3, 3), np.complex64), "complex64"),
        (np.ones((1, 3, 3, 1), np.float32), "2D"),
    ],
)
def test_what_could_not_be_read_is_not_written(suffix: str, data: np.ndarray, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"scan{suffix}: .*{words}"):
        write_volume(tmp_path / f"scan{suffix}", Volume(data, np.eye(4)))
    assert names_in(tmp_path) == []


def test_no_geometry_is_not_written(tmp_path: Path) -> None:
    for affine in (np.zeros((4, 4)), np.full((4, 4), np.nan)):
        with pytest.raises(InputError, match=r"scan\.nii: "):
            write_volume(tmp_path / "scan.nii", Volume(np.ones((1, 3, 3, 3)), affine))
    with pytest.raises(InputError, match="expected one of"):
        write_volume(tmp_path / "scan.png", Volume(np.ones((1, 3, 3, 3)), np.eye(4)))


def test_mha_refuses_what_looks_like_colours(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="colour"):
        write_volume(tmp_path / "scan.mha", Volume(np.ones((3, 3, 3, 3), np.uint8), np.eye(4)))
    assert names_in(tmp_path) == []


def test_a_long_axis_makes_nifti_2(tmp_path: Path) -> None:
    volume = Volume(np.ones((1, 32768, 2, 2), np.uint8), np.eye(4))
    write_volume(tmp_path / "long.nii.gz", volume)
    assert read_volume(tmp_path / "long.nii.gz").shape == (32768, 2, 2)
