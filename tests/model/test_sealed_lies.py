"""Headers that lie, sealed anew since the digest holds no secret: each refused in one line, without memory for it."""

import hashlib
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unetr.errors import InputError
from unetr.model.file.sealed import read_sealed, write_sealed

BLANK = "0" * 64
Entries = dict[str, Any]


def sealed(path: Path, header: bytes, data: bytes) -> None:
    """Any header with the digest that belongs to it."""
    text = header + b" " * (-len(header) % 8)
    whole = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(whole + data).hexdigest().encode()
    path.write_bytes(whole.replace(BLANK.encode(), digest, 1) + data)


def entry(**changes: Any) -> Entries:
    return {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]} | changes


TEXTS: dict[str, Callable[[str], str]] = {
    "repeated array": lambda text: text[:-1] + ',"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
    "repeated metadata": lambda text: text.replace('{"__metadata__"', '{"__metadata__":{},"__metadata__"', 1),
    "lone surrogate": lambda text: text.replace('"unetr-test"', '"\\ud800"'),
    "NaN": lambda text: text.replace("[0, 16]", "[NaN, 16]"),
    "deep": lambda text: text[:-1] + ',"b":' + "[" * 100_000,
    "digits": lambda text: text.replace("[0, 16]", f"[0, {'9' * 5000}]"),
    "metadata are numbers": lambda text: text.replace('"unetr-test"', "5"),
    "metadata are a list": lambda text: text.replace('"unetr-test"', '["unetr-test"]'),
    "a byte order mark": lambda text: "\ufeff" + text,
    "no object": lambda text: f"[{text}]",
}
ARRAYS: dict[str, Any] = {
    "nothing": None,
    "text": "abc",
    "a list": [],
    "an unknown dtype": entry(dtype="F8"),
    "a dtype in a list": entry(dtype=["F32"]),
    "a key more": entry(more=1),
    "a key less": {"dtype": "F32", "shape": [2]},
    "a shape of text": entry(shape="2"),
    "a nested shape": entry(shape=[[2]]),
    "a negative size": entry(shape=[-1, -2]),
    "a size of fractions": entry(shape=[2.0]),
    "a size that is true": entry(shape=[True, 2]),
    "a size of 2^70": entry(shape=[2**70]),
    "sizes whose product wraps": entry(shape=[2**33, 2**31, 2]),
    "no size beside a large one": entry(shape=[0, 2**70], data_offsets=[16, 16]),
    "99 axes": entry(shape=[2, *[1] * 99]),
    "negative places": entry(data_offsets=[16, 8]),
    "places below zero": entry(data_offsets=[-8, 0]),
    "places of text": entry(data_offsets="16"),
    "places in an object": entry(data_offsets={"16": 24}),
    "one place": entry(data_offsets=[16]),
    "places of fractions": entry(data_offsets=[16.0, 24.0]),
    "overlap": entry(data_offsets=[8, 16]),
    "a gap": entry(data_offsets=[20, 28]),
    "beyond the end": entry(data_offsets=[2**40, 2**40 + 8]),
    "another size than its bytes": entry(dtype="F64"),
    "too small": entry(shape=[1], data_offsets=[16, 20]),
}


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, str, bytes]:
    """A sound file, its header with an empty digest, and the bytes of its arrays."""
    path = tmp_path / "file.safetensors"
    write_sealed(path, {"a": np.arange(4, dtype=np.float32), "b": np.ones(2, np.float32)}, {"format": "unetr-test"})
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    header["__metadata__"]["sha256"] = BLANK
    return path, json.dumps(header), raw[end:]


def refused(path: Path) -> str:
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(InputError) as caught:
        read_sealed(path, "unetr-test")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    said = str(caught.value)
    assert said.startswith(str(path)) and "\n" not in said and len(said) < 600
    assert time.process_time() - started < 2 and peak < 20e6
    return said


def test_the_file_that_is_changed_is_sound(whole: tuple[Path, str, bytes]) -> None:
    path, header, data = whole
    sealed(path, header.encode(), data)
    arrays, _ = read_sealed(path, "unetr-test")
    np.testing.assert_array_equal(arrays["a"], [0, 1, 2, 3])


@pytest.mark.fault("headers of sealed files that lie")
@pytest.mark.parametrize("name", TEXTS)
def test_a_header_that_is_no_plain_json(name: str, whole: tuple[Path, str, bytes]) -> None:
    path, header, data = whole
    sealed(path, TEXTS[name](header).encode("utf-8", "surrogatepass"), data)
    assert "header" in refused(path) or "unetr-test" in refused(path)


@pytest.mark.fault("headers of sealed files that lie")
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32-le"])
def test_a_header_in_another_encoding(encoding: str, whole: tuple[Path, str, bytes]) -> None:
    path, header, data = whole
    sealed(path, header.encode(encoding), data)
    assert "header is damaged" in refused(path)


@pytest.mark.fault("headers of sealed files that lie")
@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_cannot_be(name: str, whole: tuple[Path, str, bytes]) -> None:
    path, header, data = whole
    entries = json.loads(header)
    entries["b"] = ARRAYS[name]
    sealed(path, json.dumps(entries).encode(), data)
    assert "header contradicts its contents" in refused(path)


@pytest.mark.fault("headers of sealed files that lie")
@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**9])
def test_a_header_of_any_length(length: int, whole: tuple[Path, str, bytes]) -> None:
    path, _, data = whole
    path.write_bytes(length.to_bytes(8, "little") + data)
    if length == 10**9:  # a file that is as large as it says, of holes
        with path.open("r+b") as handle:
            handle.truncate(length + 8)
    assert "expected" in refused(path)
