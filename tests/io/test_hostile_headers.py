"""Headers made to cost time or memory, or to mean something other than they seem: quick, small, and one line."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from unetr.core.text.untrusted import UnforeseenError
from unetr.errors import InputError
from unetr.evaluation.pairs import Pair, evaluate_pairs
from unetr.io import read_volume

SECONDS = 4.0
MEGABYTE = 10**6
VOXELS = np.arange(27, dtype=np.uint8).tobytes()
DIGITS = "9" * 4000
WORD = "x" * 500_000


def nrrd(extra: str = "", **changes: str) -> bytes:
    fields = {
        "type": "uchar", "dimension": "3", "sizes": "3 3 3", "encoding": "raw", "space": "LPS",
        "space directions": "(1,0,0) (0,1,0) (0,0,1)", "space origin": "(0,0,0)",
    }  # fmt: skip
    fields |= {name.replace("_", " "): value for name, value in changes.items()}
    lines = "".join(f"{name}: {value}\n" for name, value in fields.items())
    return f"NRRD0004\n{lines}{extra}\n".encode() + VOXELS


def mha(extra: str = "", **changes: str) -> bytes:
    fields = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0", "ElementSpacing": "1 1 1", "DimSize": "3 3 3", "ElementType": "MET_UCHAR",
    }  # fmt: skip
    lines = "".join(f"{name} = {value}\n" for name, value in (fields | changes).items())
    return f"{lines}{extra}{'' if 'ElementDataFile' in changes else 'ElementDataFile = LOCAL'}\n".encode() + VOXELS


REFUSED = {
    "sizes of 4000 digits.nrrd": nrrd(sizes=f"{DIGITS} {DIGITS} {DIGITS}"),
    "one size of 4000 digits.nrrd": nrrd(sizes=f"{DIGITS} 3 3"),
    "sizes of 4000 digits.mha": mha(DimSize=f"{DIGITS} 3 3"),
    "sizes of 5000 digits.mha": mha(DimSize=f"{'9' * 5000} 3 3"),
    "dimension of 4000 digits.nrrd": nrrd(dimension=DIGITS),
    "axes of 4000 digits.mha": mha(NDims=DIGITS),
    "channels of 4000 digits.mha": mha(ElementNumberOfChannels=DIGITS),
    "underscore.nrrd": nrrd(sizes="0_3 3 3"),
    "underscore.mha": mha(DimSize="3 3 0_3"),
    "underscore in a length.mha": mha(ElementSpacing="1_0 1 1"),
    "arabic digit.nrrd": nrrd(sizes="3 3 ٣"),
    "fullwidth digit.mha": mha(DimSize="3 3 ３"),
    "arabic length.mha": mha(ElementSpacing="١ 1 1"),
    "hexadecimal.mha": mha(ElementSpacing="0x1 1 1"),
    "length beyond all.mha": mha(ElementSpacing="1e300 1e300 1e300"),
    "length of nothing.mha": mha(ElementSpacing="1e-300 1 1"),
    "length of 1e400.mha": mha(ElementSpacing="1e400 1 1"),
    "far away.nrrd": nrrd(space_origin="(1e200,0,0)"),
    "not a number.nrrd": nrrd(space_origin="(nan,0,0)"),
    "detached.nrrd": nrrd(data_file="/etc/passwd"),
    "detached by another name.nrrd": nrrd(datafile="LIST 1"),
    "detached.mha": mha(ElementDataFile="/etc/passwd"),
    "a list of files.mha": mha(ElementDataFile="LIST"),
    "a pattern of files.mha": mha(ElementDataFile="x%d.raw 1 3 1"),
    "skips.nrrd": nrrd(byte_skip=DIGITS),
    "header size.mha": mha(HeaderSize=DIGITS),
    "comment of 2 MB.nrrd": b"NRRD0004\n# " + b"c" * (2 << 20) + b"\n" + nrrd()[9:],
    "million of lines.nrrd": b"NRRD0004\n" + b"#\n" * 1_000_000 + nrrd()[9:],
    "line of 1 MB.mha": b"ObjectType = Image\n" + b"a" * 900_000 + b"\n",
    "kinds without end.nrrd": nrrd(kinds="domain " * 100_000),
    "sizes without end.nrrd": nrrd(sizes="3 " * 200_000, dimension="200000"),
    "vectors without end.nrrd": nrrd(space_directions="(1,0,0) " * 50_000),
    "word as type.nrrd": nrrd(type=WORD),
    "word as object.mha": mha(ObjectType=WORD),
    "word as encoding.nrrd": nrrd(encoding=WORD),
    "digits without end.mha": mha(Offset=f"{'1' * 300_000} 0 0"),
    "digits and a letter.mha": mha(Offset=f"{'1' * 300_000}x 0 0"),
    "points without end.mha": mha(Offset=f"{'1.' * 200_000} 0 0"),
}
MANY_NAMES = json.dumps({str(value): f"n{value}" for value in range(1, 30_000)})
ACCEPTED = {
    "sound.nrrd": nrrd(),
    "sound.mha": mha(),
    "signed and long numbers.mha": mha(ElementSpacing=f"+1.{'0' * 60} 1.e0 .1E1"),
    "many names.nrrd": nrrd(f"unetr_label_names:={MANY_NAMES}\n"),
    "many names.mha": mha(f"unetr_label_names = {MANY_NAMES}\n"),
    "name of 4000 digits.nrrd": nrrd(f'unetr_label_names:={{"{DIGITS}": "big"}}\n'),
    "nested names.nrrd": nrrd(f"unetr_label_names:={'[' * 100_000}\n"),
    "surrogate as name.nrrd": nrrd('unetr_label_names:={"1": "\\\\ud800"}\n'),
    "one value twice.nrrd": nrrd('unetr_label_names:={"1": "a", "01": "b"}\n'),
}


@pytest.mark.fault("hostile headers")
@pytest.mark.parametrize("name", [*REFUSED, *ACCEPTED])
def test_a_hostile_header_is_judged_quickly_and_in_little_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes((REFUSED | ACCEPTED)[name])
    started, said = time.process_time(), ""
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_volume(path)
    except UnforeseenError:
        raise
    except InputError as error:
        said = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - started < SECONDS and peak < 60 * MEGABYTE
    assert bool(said) == (name in REFUSED), said
    if said:
        assert name in said and len(said) < 5000 and "\n" not in said


@pytest.mark.fault("hostile headers")
def test_extensions_without_end_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)), path)
    content = path.read_bytes()
    many = struct.pack("<ii", 16, 4) + bytes(8)
    header = bytearray(content[:348])
    struct.pack_into("<f", header, 108, 352 + 16 * 200_000)
    path.write_bytes(bytes(header) + b"\1\0\0\0" + many * 200_000 + content[352:])
    started = time.process_time()
    assert read_volume(path).label_names == {}
    assert time.process_time() - started < SECONDS


@pytest.mark.fault("quadratic label tables")
@pytest.mark.parametrize("kind", ["names", "values"])
def test_more_labels_than_anybody_scores_are_refused(kind: str, tmp_path: Path) -> None:
    """A table of 12,000 times 12,000 numbers takes 1.2 GB."""
    path = tmp_path / "label.nrrd"
    if kind == "names":
        names = json.dumps({str(value): f"n{value}" for value in range(1, 12_001)})
        path.write_bytes(nrrd(f"unetr_label_names:={names}\n"))
    else:
        fields = nrrd(type="ushort", sizes="30 20 20").replace(b"encoding", b"endian: little\nencoding")
        path.write_bytes(fields[: -len(VOXELS)] + np.arange(12_000, dtype="<u2").tobytes())
    tracemalloc.start()
    with pytest.raises(InputError, match=r"label\.nrrd: .*12\d\d\d label values; expected at most 2000"):
        evaluate_pairs([Pair("a", path, path)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * MEGABYTE


@pytest.mark.fault("decompression bombs")
def test_info_of_a_scan_beyond_the_memory_is_what_its_header_says(
    unetr: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scan.nii.gz"
    image = nibabel.Nifti1Image(np.zeros((90, 80, 70), np.int16), np.diag([-1.0, 1.5, 2.0, 1.0]))
    nibabel.save(image, path)
    outcome = unetr("info", path, "--json")
    assert json.loads(outcome.out)["maximum"] == 0 and outcome.err == ""
    monkeypatch.setattr("unetr.core.machine.allowance.free_bytes", lambda: 0)
    outcome = unetr("info", path, "--json")
    facts = json.loads(outcome.out)
    assert outcome.code == 0 and str(path) in outcome.err
    assert (facts["shape"], facts["spacing_mm"], facts["orientation"]) == ([90, 80, 70], [1.0, 1.5, 2.0], "LAS")
    assert (facts["type"], facts["minimum"], facts["maximum"]) == ("int16", None, None)
