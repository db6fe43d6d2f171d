"""NRRD and MetaImage files that must be refused."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from tests.scan_bytes import Recipe, compress, mha, nrrd, voxels


def nrrd_files(rng: np.random.Generator) -> Iterator[Recipe]:
    raw = voxels(rng).tobytes(order="F")
    packed = compress(raw)
    good = nrrd(raw)
    recipes = {
        "truncated_header": (good[:60], "cut in the header"),
        "no_end_of_header": (good[: good.index(b"\n\n")], "no empty line after the header"),
        "truncated_voxels": (good[:-1], "without the last byte"),
        "one_byte_more": (good + b"\0", "a byte after the last voxel"),
        "truncated_gzip": (nrrd(packed[:-1], encoding="gzip"), "gzip without its last byte"),
        "wrong_crc": (nrrd(packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:], encoding="gzip"), "gzip CRC wrong"),
        "trailing_garbage": (nrrd(packed + b"more", encoding="gzip"), "bytes after the gzip data"),
        "raw_said_to_be_gzip": (nrrd(raw, encoding="gzip"), "raw voxels said to be gzipped"),
        "gzip_said_to_be_raw": (nrrd(packed, encoding="raw"), "gzipped voxels said to be raw"),
        "bzip2": (nrrd(raw, encoding="bzip2"), "an encoding that is not read"),
        "ascii": (nrrd(b"1 2 3", encoding="ascii"), "voxels as text"),
        "sizes_too_large": (nrrd(raw, sizes="7 6 6"), "more voxels claimed"),
        "sizes_too_small": (nrrd(raw, sizes="7 6 4"), "fewer voxels claimed"),
        "sizes_gigantic": (nrrd(packed, sizes="99999 99999 99999", encoding="gzip"), "10^15 voxels claimed"),
        "sizes_zero": (nrrd(raw, sizes="7 0 5"), "an axis of 0 voxels"),
        "sizes_words": (nrrd(raw, sizes="seven 6 5"), "a size that is no number"),
        "sizes_missing": (nrrd(raw, sizes=None), "no sizes"),
        "dimension_mismatch": (nrrd(raw, dimension="4"), "dimension 4 with 3 sizes"),
        "two_d": (nrrd(raw, dimension="2", sizes="42 5", kinds="domain domain"), "2D"),
        "four_d": (nrrd(raw, dimension="4", sizes="7 3 2 5", kinds="domain domain domain time"), "a time axis"),
        "colour": (nrrd(raw, dimension="4", sizes="7 3 2 5", kinds="RGB-color domain domain domain"), "RGB voxels"),
        "block_type": (nrrd(raw, type="block"), "voxels without a number type"),
        "no_endian": (nrrd(raw, endian=None), "two-byte voxels without byte order"),
        "detached": (nrrd(b"", data_file="voxels.raw"), "voxels in another file"),
        "byte_skip": (nrrd(b"x" + raw, byte_skip="1"), "bytes to skip"),
        "no_space": (nrrd(raw, space=None, space_dimension="3"), "no anatomical space"),
        "scanner_space": (nrrd(raw, space="scanner-xyz"), "a space without left and right"),
        "no_origin": (nrrd(raw, space_origin=None), "no origin"),
        "nan_direction": (nrrd(raw, space_directions="(1,0,0) (0,nan,0) (0,0,2)"), "a NaN direction"),
        "zero_direction": (nrrd(raw, space_directions="(1,0,0) (0,0,0) (0,0,2)"), "a voxel size of 0"),
        "singular": (nrrd(raw, space_directions="(1,0,0) (1,0,0) (0,0,2)"), "two axes the same way"),
        "sheared": (nrrd(raw, space_directions="(1,0,0) (0.2,1.5,0) (0,0,2)"), "sheared axes"),
        "broken_vector": (nrrd(raw, space_origin="(10,20"), "an origin of two numbers"),
        "micrometres": (nrrd(raw, space_units='"um" "um" "um"'), "lengths in micrometres"),
        "flipped_magic": (b"NRSD" + good[4:], "one bit of the magic flipped"),
    }
    for name, (content, reason) in recipes.items():
        yield Recipe(f"nrrd_{name}", ".nrrd", content, reason)


def mha_files(rng: np.random.Generator) -> Iterator[Recipe]:
    raw = voxels(rng).tobytes(order="F")
    packed = zlib.compress(raw)
    good = mha(raw)
    recipes = {
        "truncated_header": (good[:60], "cut in the header"),
        "truncated_voxels": (good[:-1], "without the last byte"),
        "one_byte_more": (good + b"\0", "a byte after the last voxel"),
        "truncated_zlib": (mha(packed[:-1], CompressedData="True"), "compressed voxels without the last byte"),
        "wrong_checksum": (mha(packed[:-1] + bytes([packed[-1] ^ 1]), CompressedData="True"), "checksum is wrong"),
        "trailing_garbage": (mha(packed + b"more", CompressedData="True"), "bytes after the compressed voxels"),
        "raw_said_to_be_zlib": (mha(raw, CompressedData="True"), "raw voxels said to be compressed"),
        "compressed_maybe": (mha(raw, CompressedData="Maybe"), "neither compressed nor not"),
        "sizes_too_large": (mha(raw, DimSize="7 6 6"), "more voxels claimed"),
        "sizes_too_small": (mha(raw, DimSize="7 6 4"), "fewer voxels claimed"),
        "sizes_gigantic": (mha(packed, DimSize="99999 99999 99999", CompressedData="True"), "10^15 voxels claimed"),
        "sizes_negative": (mha(raw, DimSize="7 -6 5"), "an axis of -6 voxels"),
        "axes_mismatch": (mha(raw, NDims="4"), "4 axes with 3 sizes"),
        "two_d": (mha(raw, NDims="2", DimSize="42 5"), "2D"),
        "four_d": (mha(raw, NDims="4", DimSize="7 3 2 5"), "4D"),
        "colour": (mha(rng.bytes(630), ElementType="MET_UCHAR", ElementNumberOfChannels="3"), "RGB voxels"),
        "unknown_type": (mha(raw, ElementType="MET_STRING"), "voxels that are text"),
        "text_voxels": (mha(b"1 2 3", BinaryData="False"), "voxels as text"),
        "external": (mha(b"", ElementDataFile="voxels.raw"), "voxels in another file"),
        "list_of_files": (mha(b"slice1.raw\n", ElementDataFile="LIST"), "voxels in a list of files"),
        "header_size": (mha(b"x" + raw, HeaderSize="1"), "bytes to skip"),
        "no_matrix": (mha(raw, TransformMatrix=None), "no directions"),
        "no_spacing": (mha(raw, ElementSpacing=None), "no voxel sizes"),
        "no_offset": (mha(raw, Offset=None), "no origin"),
        "zero_spacing": (mha(raw, ElementSpacing="1 0 2"), "a voxel size of 0"),
        "negative_spacing": (mha(raw, ElementSpacing="1 -1.5 2"), "a negative voxel size"),
        "nan_spacing": (mha(raw, ElementSpacing="1 nan 2"), "a voxel size that is NaN"),
        "nan_offset": (mha(raw, Offset="nan 0 0"), "a NaN origin"),
        "singular": (mha(raw, TransformMatrix="1 0 0 1 0 0 0 0 1"), "two axes the same way"),
        "sheared": (mha(raw, TransformMatrix="1 0 0 0.1 1 0 0 0 1"), "sheared axes"),
        "short_matrix": (mha(raw, TransformMatrix="1 0 0 1"), "a matrix of four numbers"),
        "not_an_image": (mha(raw, ObjectType="Mesh"), "a mesh"),
    }
    for name, (content, reason) in recipes.items():
        yield Recipe(f"mha_{name}", ".mha", content, reason)
