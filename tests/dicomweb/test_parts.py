"""multipart/related is taken apart whatever the pieces in which it arrives; the email package is the oracle."""

from __future__ import annotations

import email
import random

import pytest

from unetr.dicomweb.parts import boundary_of, parts
from unetr.errors import InputError

BODIES = [b"", b"\r\n", b"--B", b"\r\n--", b"one\r\n--X--\r\ntwo", bytes(range(256)) * 40, b"DICM" + b"\0" * 5000]


def answer(bodies: list[bytes], boundary: bytes = b"BOUND") -> bytes:
    told = b"".join(b"\r\n--" + boundary + b"\r\nContent-Type: application/dicom\r\n\r\n" + one for one in bodies)
    return told + b"\r\n--" + boundary + b"--\r\n"


def cut(told: bytes, random_: random.Random) -> list[bytes]:
    cuts = sorted(random_.sample(range(len(told)), k=min(30, len(told))))
    return [told[a:b] for a, b in zip([0, *cuts], [*cuts, len(told)], strict=True)]


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_the_same_in_any_pieces(seed: int) -> None:
    told = answer(BODIES)
    found = [b"".join(body) for body in parts(cut(told, random.Random(seed)), b"BOUND")]
    assert found == BODIES


def test_the_email_package_agrees() -> None:
    bodies = [b"one", b"two\ttwo", b"x" * 9000]
    told = answer(bodies)
    head = b'Content-Type: multipart/related; boundary="BOUND"\r\n\r\n'
    oracle = email.message_from_bytes(head + told)
    expected = [part.get_payload(decode=True) for part in oracle.get_payload()]  # type: ignore[union-attr]
    assert [b"".join(body) for body in parts([told], b"BOUND")] == expected == bodies


@pytest.mark.parametrize("lost", [1, 5, 12, 40, 200])
def test_an_answer_that_ends_early_is_refused(lost: int) -> None:
    told = answer([b"a" * 100, b"b" * 100])
    with pytest.raises(InputError, match="ends before"):
        [b"".join(body) for body in parts([told[: -lost - 3]], b"BOUND")]


def test_headers_without_an_end_are_refused() -> None:
    with pytest.raises(InputError, match="without an end"):
        [b"".join(body) for body in parts([b"--BOUND\r\n", *[b"x: y\r\n" * 100] * 100], b"BOUND")]


def test_the_boundary_is_read_from_the_content_type() -> None:
    assert boundary_of('multipart/related; type="application/dicom"; boundary=a-b_c') == b"a-b_c"
    assert boundary_of('Multipart/Related; boundary="x y"'.replace(" y", "y")) == b"xy"
    for other in ("", "application/json", "multipart/related"):
        with pytest.raises(InputError):
            boundary_of(other)
