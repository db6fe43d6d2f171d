"""Tables: whole in a file or a pipe; on a narrow screen readable, with nothing cut off."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from unetr.app.printing import print_table
from unetr.app.streams import screen_width
from unetr.app.tables import table_lines

SCORES = ("network", "Dice (95 % interval)", "HD95 mm", "steps")
ROWS = [("paper", "0.893 (0.881 to 0.904)", "2.31", "20000"), ("small", "0.871", "-", "980")]
FINDINGS = ("case", "severity", "problem")
LONG = [
    ("case_01", "error", "a/very/long/path/to/case_01.nii.gz: has a voxel size of 0 mm; expected positive voxel sizes"),
    ("日本の症例", "warning", "脳の画像は、とても長い説明を持ち、二倍の幅の文字で書かれている。" * 3),
]


def words(lines: list[str]) -> list[str]:
    """Everything in the lines but rules and spaces, letter by letter, sorted: what a table tells, however laid out."""
    return sorted(letter for line in lines for letter in line if letter not in "─ ")


def test_columns_of_numbers_are_aligned_right() -> None:
    assert table_lines(SCORES, ROWS) == [
        "  network  Dice (95 % interval)    HD95 mm  steps",
        "  ───────  ──────────────────────  ───────  ─────",
        "  paper    0.893 (0.881 to 0.904)     2.31  20000",
        "  small    0.871                         -    980",
    ]


@pytest.mark.parametrize(("header", "rows"), [(SCORES, ROWS), (FINDINGS, LONG)])
def test_a_file_has_a_line_for_each_row(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    lines = table_lines(header, rows)
    assert len(lines) == 2 + len(rows)
    for line, row in zip(lines[2:], rows, strict=True):
        assert all(cell in line for cell in row)


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 100, 120, 400])
@pytest.mark.parametrize(("header", "rows"), [(SCORES, ROWS), (FINDINGS, LONG)])
def test_a_screen_shows_all_of_it(header: tuple[str, ...], rows: list[tuple[str, ...]], width: int) -> None:
    lines = table_lines(header, rows, width)
    assert all(cell_len(line) <= width for line in lines)
    assert set(words([" ".join(row) for row in rows])) <= set(words(lines))
    for row in rows:  # in blocks the headings come again, so each cell is looked for by itself
        for cell in row:
            assert "".join(cell.split()) in "".join("".join(lines).split()) or len(lines) > 2 + len(rows)


def test_the_long_text_is_folded_first_and_rows_become_blocks_last() -> None:
    folded = table_lines(FINDINGS, LONG[:1], 70)
    assert folded[0].split() == list(FINDINGS) and len(folded) == 4
    assert " ".join(line[20:].strip() for line in folded[2:]) == LONG[0][2]
    blocks = table_lines(SCORES, ROWS, 44)
    assert blocks == [
        "  network paper",
        "    Dice (95 % interval)  0.893 (0.881 to",
        "                          0.904)",
        "    HD95 mm               2.31",
        "    steps                 20000",
        "",
        "  network small",
        "    Dice (95 % interval)  0.871",
        "    HD95 mm               -",
        "    steps                 980",
    ]


def test_a_table_without_rows() -> None:
    assert table_lines(("a", "b"), []) == ["  a  b", "  ─  ─"]
    assert table_lines(("a" * 30, "b" * 30), [], 40) == []


@pytest.mark.parametrize(("encoding", "rule"), [("utf-8", "─"), ("ascii", "-")])
def test_rules_are_of_letters_that_the_stream_has(encoding: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding, newline="\n")
    monkeypatch.setattr(sys, "stdout", stream)
    print_table("a title", ("name", "ml"), [("case", "1.5")])
    assert (
        stream.buffer.getvalue().decode(encoding)
        == f"a title\n\n  name   ml\n  {rule * 4}  {rule * 3}\n  case  1.5\n\n"
    )  # type: ignore[attr-defined]


@pytest.fixture
def terminal() -> Iterator[io.TextIOWrapper]:
    """The end of a terminal that is 97 letters wide."""
    import fcntl
    import pty
    import struct
    import termios

    master, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 97, 0, 0))
    with os.fdopen(end, "w") as stream:
        yield stream
    os.close(master)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_the_width_of_a_terminal(terminal: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert screen_width(terminal) == 97
    monkeypatch.setenv("COLUMNS", "44")
    assert screen_width(terminal) == 44
    assert screen_width(io.StringIO()) is None
