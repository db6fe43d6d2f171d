"""What of a text may reach a terminal, a page or a spreadsheet; the oracle is Python's Unicode database."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr.errors import InputError
from unetr.printable import csv_cell, printable, printable_json, printable_lines

EVERY = st.text(st.characters(exclude_categories=()), max_size=60)  # halves of characters included
BAD_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
ORDINARY = ("L", "N", "P", "S", "Zs")
# Letters and marks by category, but without any ink: fillers and variation selectors (Default_Ignorable_Code_Point).
INKLESS = {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)}


def invisible(letter: str) -> bool:
    return unicodedata.category(letter) in BAD_CATEGORIES or unicodedata.bidirectional(letter) in (
        *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN"),
    )


@pytest.mark.fault("terminal control")
def test_every_code_point_is_shown_or_escaped() -> None:
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        shown = printable(letter)
        if unicodedata.category(letter) in BAD_CATEGORIES or code in INKLESS or 0xE0100 <= code <= 0xE01EF:
            assert shown.isascii() and shown.startswith("\\"), hex(code)
        elif unicodedata.category(letter)[0] == "M" or unicodedata.category(letter).startswith(ORDINARY):
            assert shown == letter, hex(code)


@pytest.mark.fault("terminal control")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mliver\x1b[0m", "\\x1b[31mliver\\x1b[0m"),
        ("\x9b2J", "\\x9b2J"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("ab\u202eexe.iin", "ab\\u202eexe.iin"),
        ("\u2066a\u2069\u200f\u061c", "\\u2066a\\u2069\\u200f\\u061c"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028para\u2029", "line\\u2028para\\u2029"),
        ("bytes\udcff", "bytes\\udcff"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("\x00\x7f\x85", "\\x00\\x7f\\x85"),
        ("foie é ü ß", "foie é ü ß"),
        ("肝臓 печень यकृत כבד الكبد ตับ", "肝臓 печень यकृत כבד الكبد ตับ"),
        ("cafe\u0301", "cafe\u0301"),
        (r"C:\data\scan.nii", r"C:\data\scan.nii"),
        ("[bold red]x", "[bold red]x"),
        ("", ""),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.fault("terminal control")
@given(EVERY)
def test_nothing_invisible_is_left_and_once_is_enough(text: str) -> None:
    shown = printable(text)
    assert not any(map(invisible, shown))
    assert printable(shown) == shown
    assert not any(map(invisible, printable_lines(text).replace("\n", "").replace("\t", "")))
    assert not any(map(invisible, str(InputError(text))))


@pytest.mark.fault("terminal control")
def test_a_long_name_is_cut_in_the_middle() -> None:
    assert printable("abcdefghij", 5) == "ab…ij"
    assert len(printable("\x1b" * 10_000_000, 50)) <= 50
    assert len(str(InputError("x" * 10_000_000))) <= 4000


@pytest.mark.fault("terminal control")
@given(EVERY)
def test_json_means_the_same_and_hides_nothing(text: str) -> None:
    document = {"name": text, "more": [text]}
    safe = printable_json(json.dumps(document, indent=1, ensure_ascii=False))
    assert json.loads(safe) == document
    assert not any(map(invisible, safe.replace("\n", "")))
    safe.encode()  # no halves of characters


@pytest.mark.fault("spreadsheet formula")
@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\n=1", "\u00a0=1", "\u200b=1", "＝1", "－1+1"),
        *("=HYPERLINK(1)", "-", "+", "--1", "-2+3*cmd|' /C calc'!A0", "\tx", "\rx", "-1_000", "-٣", "+0x10", "-1,5"),
    ],
)
def test_a_formula_becomes_text(text: str) -> None:
    assert csv_cell(text).startswith("'")
    assert csv_cell(csv_cell(text)) == csv_cell(text)


@pytest.mark.fault("spreadsheet formula")
@pytest.mark.parametrize(
    "text", ["-1", "+2.5", "-1e-05", "-.5", "3", "0.25", "nan", "-inf", "", "a=b", "liver", "1 2", "x-ray", "'=1"]
)
def test_numbers_and_words_stay(text: str) -> None:
    assert csv_cell(text) == text


@pytest.mark.fault("spreadsheet formula")
@given(EVERY)
def test_no_cell_of_a_table_is_computed(text: str) -> None:
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerow(["case", csv_cell(text)])
    (row,) = csv.reader(io.StringIO(table.getvalue(), newline=""))
    assert len(row) == 2
    cell = row[1].lstrip()
    number = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|-inf|-nan|\+inf|\+nan", cell)
    assert number or not cell.startswith(("=", "+", "-", "@"))


@pytest.mark.fault("spreadsheet formula")
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_stays_a_number(value: float) -> None:
    assert csv_cell(repr(value)) == repr(value)
