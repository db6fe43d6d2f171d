"""A seeded generator of scans that must be refused, each for one reason. Builds bytes by hand; knows nothing of unetr.

`malformed_scans(folder, seed)` writes them and lists them. The seed decides the voxels and the places of the damage.
A scan whose `label` is set is sound itself: the label is what is wrong, for the labels 0, 1 and 2.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.malformed_headers import mha_files, nrrd_files
from tests.scan_bytes import SHAPE, Patch, Recipe, compress, mha, nifti, nifti_2, nrrd, voxels

__all__ = ["SHAPE", "Malformed", "compress", "malformed_scans", "mha", "nifti", "nifti_2", "nrrd", "voxels"]

KNOWN_LABELS = (0, 1, 2)


@dataclass(frozen=True)
class Malformed:
    """One case: what to give to the command, and why it must be refused."""

    name: str
    image: Path
    label: Path | None
    reason: str


def malformed_scans(folder: Path, seed: int) -> list[Malformed]:
    """Writes every malformed scan into `folder`, which it makes, and returns them in a fixed order."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    cases = []
    for recipes in (gzip_damage, raw_damage, nifti_headers, nifti_geometry, not_scans, nrrd_files, mha_files):
        for recipe in recipes(rng):
            path = folder / f"{recipe.name}{recipe.suffix}"
            path.write_bytes(recipe.content)
            cases.append(Malformed(recipe.name, path, None, recipe.reason))
    cases += _not_files(folder, rng)
    image = folder / "sound image ü.nii.gz"
    image.write_bytes(compress(nifti(voxels(rng))))
    for recipe in label_files(rng):
        path = folder / f"{recipe.name}{recipe.suffix}"
        path.write_bytes(recipe.content)
        cases.append(Malformed(recipe.name, image, path, recipe.reason))
    return cases


def gzip_damage(rng: np.random.Generator) -> Iterator[Recipe]:
    plain = nifti(voxels(rng))
    good = compress(plain)
    middle = int(rng.integers(30, len(good) - 30))
    for name, length in {
        "in_gzip_header": 7, "in_first_block": 60, "middle": middle, "before_checksum": len(good) - 8,
        "before_length": len(good) - 4, "last_byte": len(good) - 1,
    }.items():  # fmt: skip
        yield Recipe(f"gz_truncated_{name}", ".nii.gz", good[:length], f"cut after {length} of {len(good)} bytes")
    yield Recipe("gz_wrong_crc", ".nii.gz", good[:-8] + bytes([good[-8] ^ 1]) + good[-7:], "gzip CRC wrong by one bit")
    yield Recipe("gz_wrong_length", ".nii.gz", good[:-4] + bytes([good[-4] ^ 1]) + good[-3:], "gzip length is wrong")
    flip = int(rng.integers(40, len(good) - 10))
    damaged = good[:flip] + bytes([good[flip] ^ 16]) + good[flip + 1 :]
    yield Recipe("gz_flipped_bit", ".nii.gz", damaged, f"one bit of compressed byte {flip} flipped")
    yield Recipe("gz_trailing_garbage", ".nii.gz", good + rng.bytes(20), "bytes after the gzip data")
    yield Recipe("gz_trailing_zeros", ".nii.gz", good + bytes(512), "zeros after the gzip data")
    yield Recipe("gz_two_members", ".nii.gz", good + good, "two gzip members")
    yield Recipe("gz_too_many_voxels", ".nii.gz", compress(plain + bytes(2)), "a voxel more than the header says")
    yield Recipe("gz_too_few_voxels", ".nii.gz", compress(plain[:-2]), "a voxel less than the header says")
    yield Recipe("gz_no_voxels", ".nii.gz", compress(plain[:352]), "sound gzip that ends after the header")
    yield Recipe("gz_only_half_a_header", ".nii.gz", compress(plain[:200]), "sound gzip that ends in the header")
    gigantic = nifti(voxels(rng), (42, "3h", (600, 600, 600)))
    yield Recipe("gz_gigantic_claim", ".nii.gz", compress(gigantic), "1 KB that claims 600³ voxels")
    yield Recipe(
        "gz_gigantic_32767", ".nii.gz", compress(nifti(voxels(rng), (42, "3h", (32767,) * 3))), "32767³ voxels"
    )
    # Zeros compress 1000 to 1, so the claim is possible, and only the end of the stream shows that it is false.
    bomb = nifti(np.zeros((100, 100, 100), np.int16), (42, "3h", (1000, 100, 100)))
    yield Recipe("gz_gigantic_but_possible", ".nii.gz", compress(bomb) + rng.bytes(30000), "claims 10 times its voxels")
    bomb = nifti(np.zeros((40, 40, 40), np.int16)) + bytes(60_000_000)
    yield Recipe("gz_gigantic_tail", ".nii.gz", compress(bomb), "60 MB of zeros after the last voxel")


def raw_damage(rng: np.random.Generator) -> Iterator[Recipe]:
    good = nifti(voxels(rng))
    middle = int(rng.integers(360, len(good) - 10))
    for name, length in {
        "first_bytes": 3, "in_header": 100, "at_header_end": 348, "data_start": 352, "middle": middle,
        "last_byte": len(good) - 1,
    }.items():  # fmt: skip
        yield Recipe(f"raw_truncated_{name}", ".nii", good[:length], f"cut after {length} of {len(good)} bytes")
    yield Recipe("raw_one_byte_more", ".nii", good + b"\0", "a byte after the last voxel")
    yield Recipe("raw_gigantic_claim", ".nii", nifti(voxels(rng), (42, "3h", (600, 600, 600))), "claims 600³ voxels")
    second = nifti_2(voxels(rng))
    yield Recipe("nifti2_truncated", ".nii", second[:-1], "NIfTI-2 without its last byte")
    yield Recipe("nifti2_truncated_header", ".nii", second[:400], "NIfTI-2 cut in its header")
    yield Recipe(
        "nifti2_gigantic", ".nii", second[:24] + struct.pack("<3q", *[2**40] * 3) + second[48:], "2^120 voxels"
    )


def nifti_headers(rng: np.random.Generator) -> Iterator[Recipe]:
    nan, infinity = float("nan"), float("inf")
    bit = int(rng.integers(0, 7))
    patches: dict[str, tuple[Patch, str]] = {
        "zero_dim": ((42, "3h", (7, 0, 5)), "an axis of 0 voxels"),
        "negative_dim": ((42, "3h", (7, -6, 5)), "an axis of -6 voxels"),
        "no_axes": ((40, "h", (0,)), "dim[0] is 0"),
        "eight_axes": ((40, "h", (8,)), "dim[0] is 8"),
        "negative_axes": ((40, "h", (-3,)), "dim[0] is -3"),
        "one_axis": ((40, "4h", (1, 210, 1, 1)), "1D"),
        "bad_datatype": ((70, "h", (3,)), "a datatype that does not exist"),
        "no_datatype": ((70, "2h", (0, 0)), "datatype 0"),
        "wrong_bitpix": ((72, "h", (32,)), "16-bit voxels said to have 32 bits"),
        "bits": ((70, "2h", (1, 1)), "voxels of one bit"),
        "zero_pixdim": ((80, "f", (0,)), "a voxel size of 0"),
        "negative_pixdim": ((84, "f", (-1.5,)), "a negative voxel size"),
        "nan_pixdim": ((88, "f", (nan,)), "a voxel size that is NaN"),
        "infinite_pixdim": ((88, "f", (infinity,)), "an infinite voxel size"),
        "metres": ((123, "B", (1,)), "lengths in metres"),
        "zero_vox_offset": ((108, "f", (0,)), "voxels that start inside the header"),
        "fractional_vox_offset": ((108, "f", (352.5,)), "voxels that start within a byte"),
        "nan_vox_offset": ((108, "f", (nan,)), "voxels that start at byte NaN"),
        "gigantic_vox_offset": ((108, "f", (1e30,)), "voxels that start at byte 1e30"),
        "infinite_slope": ((112, "f", (infinity,)), "scaling by infinity"),
        "nan_intercept": ((112, "2f", (2, nan)), "scaling with an intercept of NaN"),
        "overflowing_slope": ((112, "f", (3e38,)), "scaling that overflows"),
        "flipped_magic": ((344, "B", (ord("n") ^ (1 << bit),)), f"bit {bit} of the magic flipped"),
        "flipped_header_size": ((0, "i", (348 ^ (1 << bit),)), f"bit {bit} of the header size flipped"),
        "header_of_a_pair": ((344, "4s", (b"ni1\0",)), "the header of a .hdr/.img pair"),
        "analyze": ((344, "4s", (bytes(4),)), "ANALYZE 7.5"),
    }
    for name, (patch, reason) in patches.items():
        suffix = str(rng.choice([".nii", ".nii.gz"]))
        content = nifti(voxels(rng), patch)
        yield Recipe(f"header_{name}", suffix, compress(content) if suffix == ".nii.gz" else content, reason)
    colour = rng.integers(0, 255, (21, 6, 5), dtype=np.uint8)
    yield Recipe("rgb", ".nii", nifti(colour, (42, "h", (7,)), (70, "2h", (128, 24))), "RGB voxels")
    colour = rng.integers(0, 255, (28, 6, 5), dtype=np.uint8)
    yield Recipe("rgba", ".nii", nifti(colour, (42, "h", (7,)), (70, "2h", (2304, 32))), "RGBA voxels")
    yield Recipe("complex", ".nii.gz", compress(nifti(np.ones(SHAPE, np.complex64))), "complex voxels")
    yield Recipe("two_d", ".nii.gz", compress(nifti(voxels(rng, (7, 6)))), "2D")
    yield Recipe("one_slice", ".nii.gz", compress(nifti(voxels(rng, (7, 6, 1)))), "a single slice")
    yield Recipe("one_column", ".nii.gz", compress(nifti(voxels(rng, (1, 6, 5)))), "a single voxel along X")
    yield Recipe("series_of_slices", ".nii.gz", compress(nifti(voxels(rng, (7, 6, 1, 5)))), "2D with 5 times")
    yield Recipe("five_d", ".nii.gz", compress(nifti(voxels(rng, (4, 4, 4, 2, 3)))), "two axes of channels")


def nifti_geometry(rng: np.random.Generator) -> Iterator[Recipe]:
    nan = float("nan")
    only_sform: Patch = (252, "2h", (0, 1))
    recipes: dict[str, tuple[tuple[Patch, ...], str]] = {
        "missing_affine": (((252, "2h", (0, 0)),), "qform_code and sform_code are 0"),
        "nan_sform": ((only_sform, (280, "f", (nan,))), "a NaN in the sform"),
        "infinite_sform": ((only_sform, (292, "f", (float("inf"),))), "an infinite offset"),
        "nan_qform": (((252, "2h", (1, 0)), (268, "f", (nan,))), "a NaN in the qform's offset"),
        "nan_quaternion": (((252, "2h", (1, 0)), (256, "f", (nan,))), "a NaN in the quaternion"),
        "long_quaternion": (((252, "2h", (1, 0)), (256, "3f", (0.9, 0.9, 0.9))), "a quaternion longer than 1"),
        "bad_qfac": (((252, "2h", (1, 0)), (76, "f", (0.5,))), "a qfac that is neither 1 nor -1"),
        "zero_sform": ((only_sform, (280, "12f", (0,) * 12)), "an sform of zeros"),
        "singular_sform": ((only_sform, (280, "12f", (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0))), "two axes the same way"),
        "planar_sform": ((only_sform, (280, "12f", (1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0))), "three axes in a plane"),
        "sheared_sform": ((only_sform, (284, "f", (0.02,))), "a shear of 0.013"),
        "qform_moved": (((268, "f", (-9.0,)),), "qform and sform 1 mm apart"),
        "qform_flipped": (((280, "4f", (-1, 0, 0, -10)),), "qform and sform mirrored"),
        "qform_other_spacing": (((80, "f", (1.1,)),), "qform and sform with other spacings"),
    }
    for name, (patches, reason) in recipes.items():
        yield Recipe(f"geometry_{name}", ".nii.gz", compress(nifti(voxels(rng), *patches)), reason)
    for name, value in {"nan": nan, "inf": float("inf"), "minus_inf": -float("inf")}.items():
        data = rng.normal(size=SHAPE).astype(np.float32)
        data[tuple(int(rng.integers(n)) for n in SHAPE)] = value
        yield Recipe(f"voxel_{name}", ".nii.gz", compress(nifti(data)), f"one voxel is {value}")


def not_scans(rng: np.random.Generator) -> Iterator[Recipe]:
    png = b"\x89PNG\r\n\x1a\n" + rng.bytes(400)
    contents = {
        "empty": (b"", "no bytes"),
        "text": (b"This is not a scan, it only bears the name of one.\n" * 20, "text"),
        "pickle": (pickle.dumps({"scan": list(range(500))}), "a pickle"),
        "png": (png, "a PNG"),
        "noise": (rng.bytes(1000), "random bytes"),
    }
    for suffix in (".nii.gz", ".nii", ".nrrd", ".mha"):
        for name, (content, reason) in contents.items():
            yield Recipe(f"{name}_renamed", suffix, content, f"{reason}, named {suffix}")
    yield Recipe("gzipped_text", ".nii.gz", compress(contents["text"][0]), "gzipped text")
    yield Recipe("plain_named_gz", ".nii.gz", nifti(voxels(rng)), "plain NIfTI named .nii.gz")
    yield Recipe("gzip_named_plain", ".nii", compress(nifti(voxels(rng))), "gzipped NIfTI named .nii")
    yield Recipe("unknown_suffix", ".img", nifti(voxels(rng)), "a suffix that no format has")


def label_files(rng: np.random.Generator) -> Iterator[Recipe]:
    label = rng.integers(0, 3, SHAPE, dtype=np.uint8)
    spot = tuple(int(rng.integers(n)) for n in SHAPE)

    def with_value(dtype: type[np.generic], value: float) -> bytes:
        changed = label.astype(dtype)
        changed[spot] = value
        return nifti(changed)

    both = [(268, "f", (-10.1,)), (292, "f", (-10.1,))]
    # About its own middle it would be the same places, told from the other end, which is no fault.
    mirrored = [(252, "2h", (0, 1)), (280, "4f", (-1, 0, 0, -4.1))]
    recipes = {
        "two_channels": (nifti(np.stack([label, label], axis=3)), "two channels"),
        "off_integer": (with_value(np.float32, 1.01), "a voxel of 1.01"),
        "nan": (with_value(np.float32, float("nan")), "a voxel of NaN"),
        "unknown": (with_value(np.uint8, 7), "a voxel of 7"),
        "negative": (with_value(np.int16, -1), "a voxel of -1"),
        "too_large": (with_value(np.int32, 2_000_000_000), "a voxel of 2 000 000 000"),
        "huge_float": (with_value(np.float32, 1e30), "a voxel of 1e30"),
        "other_shape": (nifti(label[:, :, :-1]), "a slice less than the image"),
        "swapped_axes": (nifti(label.transpose(1, 0, 2)), "axes in another order"),
        "moved": (nifti(label, *both), "0.1 mm beside the image"),
        "mirrored": (nifti(label, *mirrored), "mirrored, 0.1 mm beside the image"),
        "other_spacing": (nifti(label, (80, "f", (1.01,)), (280, "f", (1.01,))), "1 % wider voxels"),
        "missing_affine": (nifti(label, (252, "2h", (0, 0))), "no affine"),
    }
    for name, (content, reason) in recipes.items():
        yield Recipe(f"label_{name}", ".nii.gz", compress(content), reason)
    yield Recipe("label_truncated", ".nii.gz", compress(nifti(label))[:-9], "cut")


def _not_files(folder: Path, rng: np.random.Generator) -> list[Malformed]:
    directory = folder / "a folder.nii.gz"
    directory.mkdir(exist_ok=True)
    (folder / "voxels.raw").write_bytes(voxels(rng).tobytes())
    return [
        Malformed("folder", directory, None, "a folder named like a scan"),
        Malformed("absent", folder / "there is none.nii.gz", None, "no such file"),
        Malformed("absent_folder", folder / "no folder" / "scan.nii", None, "no such folder"),
    ]
