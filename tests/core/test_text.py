"""Text, JSON and YAML of untrusted files: read as other readers do, or refused in one line, at once."""

import codecs
import json
import math
import time
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr.core.text.reading import parse_json, parse_yaml, read_json, read_text
from unetr.errors import InputError

WRITTEN = '{"name": "Größe 脳", "values": [1, -2.5, 1000.0, null, true]}'
MEANT = {"name": "Größe 脳", "values": [1, -2.5, 1000.0, None, True]}
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Without what YAML cannot print and PyYAML's writer splits lines at.
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"], exclude_characters="\ufeff\x85")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-_ 01.eyno~", max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.fault("byte order mark")
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8, codecs.BOM_UTF8 * 2], ids=["none", "one", "two"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "dataset.json"
    path.write_bytes(mark + WRITTEN.encode())
    assert read_text(path, "names") == WRITTEN
    assert read_json(path, "names") == MEANT
    assert parse_yaml(read_text(path, "names"), "plan") == MEANT


@pytest.mark.fault("other encodings")
@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin-1"]
)
def test_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes('{"Größe": 1}'.encode(encoding))
    with pytest.raises(InputError, match=r"labels\.json: cannot be read as names: .*; save it as UTF-8$"):
        read_text(path, "names")


def test_text_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"x" * 1001)
    with pytest.raises(InputError, match="larger than 1000 bytes"):
        read_text(path, "a table", largest=1000)
    assert len(read_text(path, "a table", largest=1001)) == 1001


BAD_JSON = {
    "repeated key": ('{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice"),
    "repeated key, deep": ('[[{"x": {"b": 2, "b": 2}}]]', "the key 'b' occurs twice"),
    "repeated key, spelled differently": ('{"a": 1, "\\u0061": 3}', "the key 'a' occurs twice"),
    "NaN": ('{"low": NaN}', "NaN is not a number"),
    "infinity": ("[-Infinity]", "-Infinity is not a number"),
    "infinity as a number": ("[1e400]", "too large"),
    "a number of 5000 digits": ("9" * 5000, "more than 100 digits"),
    "a fraction of 5000 digits": ("0." + "3" * 5000, "more than 100 digits"),
    "lists without end": ("[" * 200_000, "nested more than 100"),
    "objects without end": ('{"a":' * 5000 + "1" + "}" * 5000, "nested more than 100"),
    "101 levels": ("[" * 101 + "]" * 101, "nested more than 100"),
    "a lone surrogate": ('["\\ud800"]', "half of a character"),
    "a lone surrogate as a key": ('{"\\uDFFF": 1}', "half of a character"),
    "surrogates in the wrong order": ('"\\udc00\\ud800"', "half of a character"),
    "a list of millions": ("[" + "0," * 3_000_000 + "0]", "more than 2000000 values"),
    "nothing": ("", "is not JSON"),
    "cut off": ('{"a": [1', "is not JSON"),
    "brackets that do not close": ("]]]]", "is not JSON"),
    "a string that does not end": ('"' + "a" * 10**6, "is not JSON"),
}


@pytest.mark.fault("JSON that readers accept silently")
@pytest.mark.parametrize("text,said", BAD_JSON.values(), ids=BAD_JSON)
def test_json_that_is_refused(text: str, said: str) -> None:
    started = time.process_time()
    with pytest.raises(InputError, match=r"^scan\.json: is not JSON: ") as caught:
        parse_json(text, "scan.json")
    assert said in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert time.process_time() - started < 2


@given(PLAIN)
@settings(deadline=None)
def test_other_json_is_read_as_the_standard_library_reads_it(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert parse_json(text, "x") == json.loads(text)


def test_brackets_in_strings_are_no_nesting() -> None:
    value = {"[" * 300: '{"' * 300 + "\\", 'quote \\" [': "[" * 300}
    assert parse_json(json.dumps(value), "x") == value
    assert parse_json('"\\ud83e\\udde0"', "x") == "🧠"
    assert parse_json("[" * 100 + "]" * 100, "x") == json.loads("[" * 100 + "]" * 100)


def merge_keys(width: int, levels: int) -> str:
    """Of width ** levels entries, in a few hundred bytes."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels + 1)]
    return "\n".join(lines)


BAD_YAML = {
    "merge keys that multiply": (merge_keys(10, 7), "anchors and references"),
    "references that multiply": ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", "anchors and references"),
    "a reference to itself": ("&a [*a]", "anchors and references"),
    "a merge key": ("<<: {a: 1}", "merge keys"),
    "repeated key": ("labels: {organ: 1, liver: 2, organ: 3}", "the key 'organ' occurs twice"),
    "repeated key, spelled differently": ("'dataset': a\ndataset: b", "the key 'dataset' occurs twice"),
    "a key that is a list": ("? [1, 2]\n: 3", "a key must be"),
    "not a number": ("low: .nan", ".nan is not a number"),
    "infinity": ("low: -.INF", "-.INF is not a number"),
    "infinity as a number": ("low: 1.0e+400", "too large"),
    "digits": ("low: " + "9" * 5000, "more than 100 digits"),
    "a tag": ("x: !!python/object/apply:os.system [ls]", "tags"),
    "a plain tag": ("x: !!str 5", "tags"),
    "a tag of one's own": ("x: !mine 5", "tags"),
    "a set": ("!!set {a, b}", "tags"),
    "lists without end": ("[" * 100_000, "nested more than 100"),
    "mappings without end": ("{a: " * 5000, "nested more than 100"),
    "blocks without end": ("".join(" " * n + f"k{n}:\n" for n in range(300)), "nested more than 100"),
    "a lone surrogate": ('"\\ud800": 1', "half of a character"),
    "a character that is none": ('"\\UFFFFFFFF"', "is not YAML"),
    "a date": ("dataset: 2023-02-30", "2023-02-30 is a date; put it in quotes"),
    "two documents": ("a: 1\n---\nb: 2", "is not YAML"),
    "a control character": ("a: \x07", "is not YAML"),
    "megabytes": ("a: 1\n" * 200_000, "longer than 500000"),
}


@pytest.mark.fault("YAML that readers accept silently")
@pytest.mark.parametrize("text,said", BAD_YAML.values(), ids=BAD_YAML)
def test_yaml_that_is_refused(text: str, said: str) -> None:
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(InputError, match=r"^plan\.yaml: is not YAML: ") as caught:
        parse_yaml(text, "plan.yaml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert time.process_time() - started < 5 and peak < 100e6


@pytest.mark.fault("YAML 1.1 surprises")
@pytest.mark.parametrize("word", ["no", "on", "yes", "010", "1_000", "1:30", "0x10", "0b1", "096", "1e5", "+.5"])
def test_words_that_only_yaml_1_1_takes_for_something_else(word: str) -> None:
    assert parse_yaml(f"name: {word}", "x") == {"name": word}


@given(PLAIN)
@settings(deadline=None)
def test_what_the_writer_of_plans_writes_is_read_back(value: object) -> None:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    assert parse_yaml(text, "x") == value


def test_plain_yaml() -> None:
    text = (
        "a: {b: [1, -2, 2.5, 1.0e-05], c: ~, d: null, e: true, f: 'no', g: \"\\ud83e\\udde0\", h: 5.}\nx:\n- y: ! z\n"
    )
    assert parse_yaml(text, "x") == {
        "a": {"b": [1, -2, 2.5, 1e-5], "c": None, "d": None, "e": True, "f": "no", "g": "🧠", "h": 5.0},
        "x": [{"y": "z"}],
    }
    assert math.isclose(parse_yaml("-7.25", "x"), -7.25)
