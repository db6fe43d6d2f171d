"""No malformed scan is ever read: every one ends in one line that names the file, without taking memory it claims."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.io import FORMATS, check_same_grid, read_label, read_volume, write_volume

SEEDS = (0, 1, 2)
MOST_EXTRA_BYTES = 50_000_000


def read_case(case: object, known_labels: tuple[int, ...]) -> None:
    image = read_volume(case.image)
    if case.label is not None:
        label = read_label(case.label, known_labels)
        check_same_grid(image, label, case.image, case.label)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_malformed_scan_is_refused_in_one_line(malformed: ModuleType, tmp_path: Path, seed: int) -> None:
    cases = malformed.malformed_scans(tmp_path / "bad scans", seed)
    assert len(cases) >= 60
    assert len({case.name + case.image.suffix for case in cases}) == len(cases)
    complaints = []
    for case in cases:
        guilty = case.label or case.image
        try:
            read_case(case, malformed.KNOWN_LABELS)
        except InputError as error:
            if guilty.name not in str(error) or "\n" in str(error) or len(str(error)) > 500:
                complaints.append(f"{case.name}: unclear: {error}")
        except Exception as error:  # noqa: BLE001
            complaints.append(f"{case.name}: {type(error).__name__}: {error}")
        else:
            complaints.append(f"{case.name}: read without complaint, although: {case.reason}")
    assert complaints == []


def test_what_the_malformed_scans_are_made_from_is_sound(malformed: ModuleType, tmp_path: Path) -> None:
    """Else they could be refused for another reason than theirs."""
    data = malformed.voxels(np.random.default_rng(0))
    contents = {
        "a.nii": malformed.nifti(data), "a.nii.gz": malformed.compress(malformed.nifti(data)),
        "b.nii": malformed.nifti_2(data), "a.nrrd": malformed.nrrd(data.tobytes(order="F")),
        "a.mha": malformed.mha(data.tobytes(order="F")),
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        volume = read_volume(tmp_path / name)
        assert np.array_equal(volume.data[0], data)
        assert volume.spacing_mm == (1, 1.5, 2)
        assert np.abs(volume.affine[:3, 3]).tolist() == [10, 20, 5]


def test_claims_take_no_memory(malformed: ModuleType, tmp_path: Path) -> None:
    cases = [case for case in malformed.malformed_scans(tmp_path, 0) if "gigantic" in case.name]
    assert len(cases) >= 8
    with pytest.raises(InputError):
        read_volume(cases[0].image)  # imports what reading imports
    for case in cases:
        tracemalloc.start()
        try:
            with pytest.raises(InputError):
                read_volume(case.image)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < MOST_EXTRA_BYTES, case.name


def test_an_impossible_claim_is_refused_before_reading_on(malformed: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "claim.nii"
    path.write_bytes(malformed.nifti(malformed.voxels(np.random.default_rng(0)), (42, "3h", (600, 600, 600))))
    with pytest.raises(InputError, match=r"claims 432000352 bytes, the file holds at most 772"):
        read_volume(path)


def test_bytes_after_gzip_data_that_fills_the_read_buffer(malformed: ModuleType, tmp_path: Path) -> None:
    """The gzip data ends exactly where a piece of the file ends, so what follows has not been seen by zlib."""
    packed = malformed.compress(malformed.nifti(malformed.voxels(np.random.default_rng(0))))
    piece, has_name = 1 << 18, 8
    name = b"n" * (piece - len(packed) - 1) + b"\0"
    padded = packed[:3] + bytes([has_name]) + packed[4:10] + name + packed[10:]
    assert len(padded) == piece
    path = tmp_path / "padded.nii.gz"
    path.write_bytes(padded)
    assert read_volume(path).shape == malformed.SHAPE
    path.write_bytes(padded + b"more")
    with pytest.raises(InputError, match="further bytes after"):
        read_volume(path)


@pytest.fixture
def small() -> Volume:
    return Volume(np.random.default_rng(3).integers(0, 9, (1, 4, 3, 2), dtype=np.int16), np.diag([1.0, 2.0, 3.0, 1.0]))


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_prefix_and_no_extension_of_a_scan_is_a_scan(suffix: str, small: Volume, tmp_path: Path) -> None:
    path = tmp_path / f"whole{suffix}"
    write_volume(path, small)
    content, part = path.read_bytes(), tmp_path / f"part{suffix}"
    for length in range(len(content)):
        part.write_bytes(content[:length])
        with pytest.raises(InputError, match="part"):
            read_volume(part)
    for tail in (b"\0", b"x", content, bytes(1024)):
        part.write_bytes(content + tail)
        with pytest.raises(InputError, match="part"):
            read_volume(part)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_flipped_bit_is_refused_or_harmless_where_a_checksum_covers_it(
    suffix: str, small: Volume, tmp_path: Path
) -> None:
    """Anywhere it gives a volume or InputError; within what is compressed, the very same volume or InputError."""
    path = tmp_path / f"whole{suffix}"
    write_volume(path, small)
    content, flipped = path.read_bytes(), tmp_path / f"flipped{suffix}"
    compressed_from = {
        ".nii.gz": 0,
        ".nii": len(content),
        ".nrrd": content.find(b"\n\n"),
        ".mha": content.find(b"LOCAL"),
    }
    refused = 0
    for position in range(len(content)):
        for bit in (0, 3, 7):
            flipped.write_bytes(content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :])
            try:
                volume = read_volume(flipped)
            except InputError:
                refused += 1
                continue
            if position > compressed_from[suffix] + 6:
                assert np.array_equal(volume.data, small.data)
                assert np.array_equal(volume.affine, small.affine)
    assert refused > 50
