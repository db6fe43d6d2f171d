"""Text from files made safe to show: one place for what a terminal, a page or a spreadsheet would take as a command.

Knows no files and raises nothing; the errors themselves are made of it.
"""

from __future__ import annotations

import json
import re

# Controls (C0, DEL, C1, with ESC among them), what Unicode calls format characters (bidi marks, overrides and isolates,
# zero-width ones, tags), other characters without any ink, line and paragraph separators, halves of characters, and
# code points that are no characters. Letters, marks and signs of all scripts are none of these.
_UNSAFE = (
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160"
    r"\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
) + "".join(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(1, 17))
_ANY = re.compile(f"[{_UNSAFE}]")
_IN_LINES = re.compile(rf"(?![\n\t])[{_UNSAFE}]")
# A text that a spreadsheet computes: these signs, also in their wide forms, after blanks of any kind.
_FORMULA = re.compile(rf"[\s{_UNSAFE}]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-](inf|nan)")
# Of one text, at most this many characters are looked at, so that a name of gigabytes costs nothing.
_MOST = 100_000


def printable(text: str, longest: int | None = None) -> str:
    """The text on one line, with \\x1b, \\n, \\u202e and the like in the place of what cannot be seen.

    Letters of all scripts stay. The same text once more comes out the same. longest: of a name from a file, the most
    characters that are shown; the middle is left out.
    """
    safe = _ANY.sub(_escape, text if longest is None else shortened(text, max(longest, _MOST)))
    return safe if longest is None else shortened(safe, longest)


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stays so: line feeds and tabs are kept."""
    return _IN_LINES.sub(_escape, text)


def printable_json(text: str) -> str:
    """The same JSON document, with JSON's own escapes for what cannot be seen inside its strings."""
    return _IN_LINES.sub(lambda found: json.dumps(found[0])[1:-1], text)


def csv_cell(text: str) -> str:
    """A cell of a table that a spreadsheet takes as text: what it would compute gets an apostrophe in front.

    Numbers stay numbers; what cannot be seen is escaped.
    """
    if _NUMBER.fullmatch(text):
        return text
    safe = printable(text)
    return f"'{safe}" if _FORMULA.match(text) else safe


def shortened(text: str, longest: int) -> str:
    """The text, cut in the middle if it is longer; longest is at least 3."""
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
