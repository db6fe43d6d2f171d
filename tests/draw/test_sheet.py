"""The sheet of a result: pixels of the labels' colours, a strip for the words, and no more of them than fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unetr.core.colours import class_colour, rgb
from unetr.core.space.volume import Volume
from unetr.draw import sheet as drawn
from unetr.draw.sheet import Sheet, sheet_pixels
from unetr.io.dicom.results import capture
from unetr.queue.tasks.dicom_forms import DICOM_FORMS, Made


def made(count: int, words: tuple[str, ...] = ("The scan looks like the training scans.",), **changes):
    rng = np.random.default_rng(0)
    scan = Volume(rng.normal(100, 5, (1, 20, 30, 10)).astype(np.float32), np.diag([1.0, 1, 2, 1]))
    names = {value: f"label {value}" for value in range(1, count + 1)}
    labels = scan.with_data(rng.integers(0, count + 1, (1, 20, 30, 10)).astype(np.uint8), label_names=names)
    sheet = Sheet(
        title="Segmentation by unetr test",
        use="For research. Not for diagnosis.",
        volumes_ml=dict.fromkeys(names.values(), 1.5),
        confidence=dict.fromkeys(names.values(), 0.9) | {"label 1": None},
        words=words,
        warned=False,
        **changes,
    )
    return sheet_pixels(scan, labels, sheet)


def share(pixels, colour: str) -> float:
    return float((np.abs(pixels / 255 - np.array(rgb(colour))).max(axis=2) < 0.02).mean())


@pytest.mark.parametrize("count", [1, 3, 14])
def test_has_the_colours_of_its_labels(count: int) -> None:
    pixels = made(count)
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
    for position in range(count):
        assert share(pixels, class_colour(position)) > 0, "in the table, full and not mixed with the scan"


def test_is_the_same_each_time() -> None:
    assert np.array_equal(made(3), made(3))


def test_grows_with_its_table_and_not_without_end() -> None:
    heights = [made(count).shape[0] for count in (2, 10, 120, 200)]
    assert heights[0] < heights[1] < heights[2] == heights[3]
    many = made(2, tuple(f"warning {number} " + "long " * 60 for number in range(50)))
    assert made(2).shape[0] < many.shape[0] < made(2).shape[0] + 400


def test_shows_what_no_text_may_do_as_it_is_written() -> None:
    assert made(2, ("$\\frac{1}{", "\x1b[31m red")).shape[1] == made(2).shape[1]


@pytest.mark.parametrize(
    ("summary", "words", "warned"),
    [
        ({"verdict": {"state": "ok", "warnings": []}}, ["looks like the scans"], False),
        ({"verdict": {"state": "warned", "warnings": ["it is small", "it is dark"]}}, ["is small", "is dark"], True),
        ({"verdict": {"state": "warned", "warnings": []}}, ["is not known"], True),
        ({"verdict": {"state": "unknown", "warnings": []}}, ["is not known"], True),
        ({"verdict": {"state": "unheard of"}}, ["is not known"], True),
        ({"verdict": {"state": "ok", "warnings": ["it is small"]}}, ["is small"], True),
        ({"volumes_ml": {"liver": 1.0}}, ["is not known"], True),
        ({}, ["A person has corrected"], False),
    ],
)
def test_a_picture_for_a_pacs_says_the_verdict_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, summary: dict[str, Any], words: list[str], warned: bool
) -> None:
    """Whatever is not plainly well is a warning; and what nobody has looked at says so."""
    shown: list[Sheet] = []
    monkeypatch.setattr(drawn, "sheet_pixels", lambda _scan, _labels, told: shown.append(told))
    described: list[str] = []
    monkeypatch.setattr(capture, "write_capture", lambda *_, description, **__: described.append(description))
    labels = Volume(np.ones((1, 2, 2, 2), np.uint8), np.eye(4), label_names={1: "liver"})
    made = Made(labels=labels, scan=lambda: labels, made_by="abdomen", identity="x", summary=summary)
    DICOM_FORMS["capture"].write(tmp_path / "one.capture.dcm", made)
    ((told,), (description,)) = (shown, described)
    assert len(told.words) == len(words) and all(part in word for part, word in zip(words, told.words, strict=True))
    assert told.warned == warned
    for text in (told.use, description):
        assert "not for diagnosis" in text
        assert ("Not checked by a person" in text) == bool(summary)
    assert set(told.volumes_ml) == {"liver"}
