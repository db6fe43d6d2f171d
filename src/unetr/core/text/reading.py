"""Text from files that anyone may have written: decoded, and read as JSON or YAML within limits.

What is refused here is what readers of JSON and YAML accept without a word and what then goes wrong far from its
cause: repeated keys (the last one wins), NaN and infinity, lone surrogates (no UTF-8 can hold them), numbers and
nesting without end, and YAML's references, of which 500 bytes can stand for gigabytes.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from unetr.errors import InputError

LARGEST_TEXT = 64 * 10**6
# A value takes up to 100 bytes in memory, so that text of this size stays well below a gigabyte.
_MOST_VALUES = 2 * 10**6
# PyYAML reads 100 kB in a second, and no plan is longer.
_LARGEST_YAML = 500_000
_DEEPEST = 100
_LONGEST_NUMBER = 100
_UTF16_32 = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_BYTE_ORDER_MARK = "\ufeff"
# Possessive, so that a string of megabytes takes no memory for ways to go back.
_NO_BRACKETS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[^"\[\]{}]++', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def read_text(path: Path, what: str, largest: int = LARGEST_TEXT) -> str:
    """Reads UTF-8 text, without the mark that some editors put first; `what` names the kind of file in the error.

    largest: bytes. Raises InputError, for another encoding with what to do.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(largest + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected {what}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as {what}: {error.strerror or error}") from None
    if len(data) > largest:
        raise InputError(f"{path}: cannot be read as {what}: it is larger than {largest} bytes")
    try:
        return decode_text(data)
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as {what}: {error}") from None


def cannot_open(path: Path, error: OSError, expected: str) -> InputError:
    """The one-line error for a file that the operating system does not let us read. expected: such as "a scan"."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file; expected {expected}")
    if path.is_dir():  # which Windows calls a lack of permission
        return InputError(f"{path}: is a folder; expected {expected}")
    return InputError(f"{path}: cannot be read: {error.strerror or error}; expected {expected}")


def decode_text(data: bytes) -> str:
    """UTF-8 bytes as text, without byte order marks. Raises ValueError that says what to do about other encodings."""
    start = data[:64]
    if data.startswith(_UTF16_32) or start.count(0) > len(start) / 3:
        raise ValueError("it is UTF-16 or UTF-32 (or no text); save it as UTF-8")
    try:
        return data.decode("utf-8").lstrip(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; save it as UTF-8") from None


def read_json(path: Path, what: str) -> Any:
    """Reads a JSON file (`read_text`, `parse_json`). Raises InputError."""
    return parse_json(read_text(path, what), str(path))


def parse_json(text: str, source: str) -> Any:
    """JSON as Python's dicts, lists, str, int, float, bool and None; every number is finite, every text is Unicode.

    Raises InputError that names `source`, where what is wrong is said in one line.
    """
    try:
        _check_size(text)
        found = json.loads(
            text,
            object_pairs_hook=_without_repeats,
            parse_int=_whole_number,
            parse_float=_number,
            parse_constant=_refuse_constant,
        )
        if _SURROGATE_ESCAPE.search(text) or not text.isascii():
            _check_unicode(found)
    # RecursionError only where the caller is deep in calls itself: the nesting was counted.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: is not JSON: {error}") from None
    return found


def parse_yaml(text: str, source: str) -> Any:
    """YAML's plain values, of which fewer than in YAML 1.1 are no text: `no`, `010`, `1:30` and `1_000` are words.

    No anchors, references, merge keys, tags or dates, and no key twice. Raises InputError as `parse_json` does.
    """
    try:
        if len(text) > _LARGEST_YAML:
            raise ValueError(f"it is longer than {_LARGEST_YAML} characters")
        loader = _PlainLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        line = f" (line {where.line + 1}, column {where.column + 1})" if where else ""
        raise InputError(f"{source}: is not YAML: {error.problem or error.context}{line}") from None
    # A character by its number in quotes may be none: OverflowError.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{source}: is not YAML: {error}") from None


def _check_size(text: str) -> None:
    if text.count(",") + text.count("[") + text.count("{") > _MOST_VALUES:
        raise ValueError(f"it has more than {_MOST_VALUES} values")
    depth = 0
    for bracket in _NO_BRACKETS.sub("", text):
        depth += 1 if bracket in "[{" else -1
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} occurs twice")
    return found


def _whole_number(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"the number {text[:12]}... has more than {_LONGEST_NUMBER} digits")
    return int(text)


def _number(text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"the number {text[:12]}... has more than {_LONGEST_NUMBER} digits")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text} is too large")
    return value


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _check_unicode(found: Any) -> None:
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            whole_characters(value)


def whole_characters(text: str) -> str:
    """The text, if UTF-8 can hold it. Raises ValueError for half of a character (a lone surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{ascii(text)[:60]} holds half of a character (a lone surrogate)") from None
    return text


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's loader without what makes one value of another."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # its own, filled below
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._refuse(f"anchors and references (&{event.anchor}) are not read; write the value out", event)
        if getattr(event, "tag", None) is not None and event.tag != "!":
            self._refuse(f"tags ({event.tag}) are not read; write the value alone", event)
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(f"it is nested more than {_DEEPEST} levels deep", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are plain values, each there once."""
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse("a key must be one word or text", key_node)
            key = self.construct_object(key_node, deep=deep)
            if key_node.value == "<<" and key_node.style is None:
                self._refuse("merge keys (<<) are not read; write the values out", key_node)
            if key in found:
                self._refuse(f"the key {key!r} occurs twice", key_node)
            found[key] = self.construct_object(value_node, deep=deep)
        return found

    def _refuse(self, what: str, where: Any) -> None:
        raise yaml.MarkedYAMLError(problem=what, problem_mark=where.start_mark)


def _text_of(loader: Any, node: Any) -> str:
    # Letters beyond 16 bits may be written as two halves, as in JSON.
    text = str(node.value)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return whole_characters(text)


def _no_date(loader: Any, node: Any) -> None:
    raise yaml.MarkedYAMLError(problem=f"{node.value} is a date; put it in quotes", problem_mark=node.start_mark)


def _yaml_number(loader: Any, node: Any) -> float:
    if node.value.lower().lstrip("+-") in (".inf", ".nan"):
        _refuse_constant(node.value)
    return _number(node.value)


_TAG = "tag:yaml.org,2002:"
# Never more than PyYAML's writer takes for something else than text, so that text without quotes is read as it was.
for _name, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("timestamp", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "0123456789"),
):
    _PlainLoader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
for _name, _made in (
    ("int", lambda _, node: _whole_number(node.value)),
    ("float", _yaml_number),
    ("str", _text_of),
    ("timestamp", _no_date),
):
    _PlainLoader.add_constructor(f"{_TAG}{_name}", _made)
