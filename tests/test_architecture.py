"""The tables of docs/architecture.md are true: what they name exists, and the code reads the registries."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from benchmarks import house
from tests.registries import REACHED, FoundError, thing

from unetr.core.plan.schema import ChannelPlan, InferencePlan
from unetr.core.plan.training import AugmentPlan

TREE = Path(__file__).resolve().parents[1]
SOURCE = TREE / "src" / "unetr"
PAGE = TREE / "docs" / "architecture.md"
PLACES = {
    "read or write another image format": "io/formats/",
    "blend windows in another way": "infer/sweep/blending.py",
    "train with another loss": "train/losses.py",
    "resume a training, or refuse to": "train/run/resume.py",
    "write a DICOM segmentation": "io/dicom/results/seg.py",
    "draw another plot in the report": "report/plots.py",
    "decide along which axes scans may be mirrored": "prepare/planning/mirrors.py",
    "keep a job until it is done": "queue/store.py",
    "decide which series go to which model": "node/rules.py",
}

Row = dict[str, str]


@cache
def tables() -> tuple[tuple[Row, ...], ...]:
    """Each table of the page: a row is column -> cell."""
    made = []
    for block in re.findall(r"(?:^\|.*\|\n)+", PAGE.read_text(encoding="utf-8"), flags=re.M):
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        made.append(tuple(dict(zip(head, row, strict=True)) for row in rows))
    return tuple(made)


def table(*columns: str) -> tuple[Row, ...]:
    """The one table with these columns."""
    (one,) = [rows for rows in tables() if tuple(rows[0]) == columns]
    return one


def registries() -> dict[str, Row]:
    rows = table("what", "where", "registry", "the name also stands in", "tests that pick it up")
    return {row["registry"].strip("`"): row for row in rows}


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def is_there(path: str) -> bool:
    return any((base / path).exists() for base in (SOURCE, TREE))


def test_every_path_of_the_tables_is_there() -> None:
    paths = [name for rows in tables() for row in rows for cell in row.values() for name in quoted(cell) if "/" in name]
    assert len(paths) > 60
    assert [path for path in paths if not is_there(path)] == []


def test_places_are_where_their_owners_are() -> None:
    rows = table("task", "place", "owner")
    assert {row["task"]: quoted(row["place"])[0] for row in rows} == PLACES
    for row in rows:
        place, owner = quoted(row["place"])[0], quoted(row["owner"])[0]
        thing(owner)
        module = SOURCE.joinpath(*owner.split(".")[:-1])
        assert (SOURCE / place) in (module, module.with_suffix(".py")), owner


def test_owners_of_facts_are_there() -> None:
    for row in table("fact", "owner"):
        for name in quoted(row["owner"]):
            assert "/" in name or thing(name) is not None


def test_rooms_are_in_the_table_and_nothing_else() -> None:
    told = {quoted(row["folder"])[0].rstrip("/") for row in table("folder", "knows", "does not know")}
    assert told == {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}


@pytest.mark.parametrize("room", ["core", "io", "model", "prepare", "infer", "train", "evaluation"])
def test_rows_of_a_room_import_only_from_rows_below(room: str) -> None:
    rows = [f"src/unetr/{quoted(row[f'in `{room}/`'])[0]}" for row in table(f"in `{room}/`", "knows")]

    def place(file: str) -> int | None:
        return next((index for index, row in enumerate(rows) if file == row or file.startswith(row)), None)

    pairs = [(each, place(each.importer), place(each.imported)) for each in house.imports(TREE)]
    upward = [each for each, above, below in pairs if above is not None and below is not None and above > below]
    assert upward == []


def test_words_are_told_once() -> None:
    words = [row["word"] for row in table("word", "meaning")]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("name", registries())
def test_a_registry_is_read_outside_of_the_tests(name: str) -> None:
    """Somewhere in the package its name is used, and not only bound."""
    assert thing(name), "an empty registry is none"
    assert name.rpartition(".")[2] in _names_that_are_read()


@cache
def _names_that_are_read() -> set[str]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")]
    names = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return {node.id for node in names if isinstance(node.ctx, ast.Load)}


# Read by commands that need a model or weights: tests of these commands reach every entry.
BY_COMMANDS = {"model.export.EXPORTS", "model.convert.CONVERTERS"}


@pytest.mark.parametrize("name", REACHED)
def test_the_code_finds_what_is_added(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, stand_in, reach = REACHED[name]
    monkeypatch.setitem(thing(name), key, stand_in)
    with pytest.raises(FoundError):
        reach()


def test_every_registry_of_the_page_is_tried() -> None:
    assert set(registries()) == set(REACHED) | BY_COMMANDS


def _field_names(record: type[Any], field: str) -> set[str]:
    return set(get_args(record.model_fields[field].annotation))


def test_names_that_stand_in_two_places_agree() -> None:
    assert _field_names(ChannelPlan, "normalisation") == set(thing("prepare.preprocess.NORMALISATIONS"))
    assert _field_names(InferencePlan, "blending") == set(thing("infer.sweep.blending.BLENDINGS"))
    assert set(thing("prepare.planning.presets.PEER_NAMES")) == set(thing("model.network.peers.PEERS"))
    decoders = set(thing("model.network.decoders.DECODERS"))
    assert decoders == set(thing("model.network.shapes.DECODER_SHAPES"))
    assert decoders == set(thing("model.graph.decoders.DECODER_GRAPHS"))
    assert set(thing("train.samples.augment.INTENSITY_AUGMENTATIONS")) <= set(AugmentPlan.model_fields)
