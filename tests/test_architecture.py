"""The tables of docs/architecture.md are true: what they name exists, and the code reads the registries."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from benchmarks import house

from unetr.core.plan.network import NetworkPlan
from unetr.core.plan.schema import ChannelPlan, InferencePlan, Plan
from unetr.core.plan.targets import Target
from unetr.core.plan.training import AugmentPlan
from unetr.core.space.volume import Volume
from unetr.errors import UnetrError

TREE = Path(__file__).resolve().parents[1]
SOURCE = TREE / "src" / "unetr"
PAGE = TREE / "docs" / "architecture.md"
# A room that is named, and not there before somebody needs it.
TO_BE_MADE = "serve/"
PLACES = {
    "read or write another image format": "io/formats/",
    "blend windows in another way": "infer/sweep/blending.py",
    "train with another loss": "train/losses.py",
    "resume a training, or refuse to": "train/run/resume.py",
    "write a DICOM segmentation": "io/dicom/results/seg.py",
    "draw another plot in the report": "report/plots.py",
    "decide along which axes scans may be mirrored": "prepare/planning/mirrors.py",
    "answer requests over HTTP": TO_BE_MADE,
}

Row = dict[str, str]


class FoundError(UnetrError):
    """What was added to a registry has been reached."""


def found(*_: Any, **__: Any) -> Any:
    """Stands in a registry."""
    raise FoundError("found")


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


def thing(name: str) -> Any:
    """What a dotted name below `unetr` stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(f"unetr.{module}"), attribute)


def is_there(path: str) -> bool:
    return any((base / path).exists() for base in (SOURCE, TREE))


def plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "dataset": "test",
        "channels": (ChannelPlan(name="CT", normalisation="none"),),
        "labels": {"background": 0, "organ": 1},
        "spacing_mm": (1.0, 1.0, 1.0),
        "window": (16, 16, 16),
        "network": NetworkPlan(patch=8, width=24, depth=3, heads=3, mlp_width=40, taps=(1, 2, 3), feature_size=4),
    }
    return Plan(**(fields | changes))


def test_every_path_of_the_tables_is_there() -> None:
    paths = [name for rows in tables() for row in rows for cell in row.values() for name in quoted(cell) if "/" in name]
    assert len(paths) > 60
    assert [path for path in paths if not is_there(path)] == [TO_BE_MADE]


def test_places_are_where_their_owners_are() -> None:
    rows = table("task", "place", "owner")
    assert {row["task"]: quoted(row["place"])[0] for row in rows} == PLACES
    for row in rows:
        place, owner = quoted(row["place"])[0], quoted(row["owner"])[0]
        thing(owner)
        if place != TO_BE_MADE:
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


def _a_format() -> None:
    from unetr.io import read_volume

    read_volume(Path("scan.dummy"))


def _a_layout() -> None:
    from unetr.prepare.datasets.cases import open_dataset

    open_dataset(Path(__file__).parent)


def _a_preset() -> None:
    from unetr.prepare.planning.presets import network_named

    assert network_named("dummy") is not None
    raise FoundError("found")


def _a_recipe() -> None:
    from unetr.prepare.paper.recipes import recipe_named

    assert recipe_named("dummy") is found
    raise FoundError("found")


def _a_peer() -> None:
    from unetr.model.network.peers import build_peer

    build_peer("dummy", 1, 2, (16, 16, 16))


def _a_decoder() -> None:
    from unetr.model.network.build import empty_network

    made = plan()
    empty_network(made.network, 1, 2, made.window)


def _shapes_of_a_decoder() -> None:
    from unetr.model.network.shapes import weight_shapes

    weight_shapes(plan())


def _a_decoder_without_torch() -> None:
    from unetr.model.graph.forward import build_graph
    from unetr.model.graph.onnx.check import stand_ins
    from unetr.model.graph.onnx.graph import OnnxOperations
    from unetr.model.network.shapes import weight_shapes

    build_graph(OnnxOperations(), plan(), stand_ins(weight_shapes(plan())), "test")


def _a_normalisation() -> None:
    from unetr.prepare.preprocess import preprocess_image

    preprocess_image(Volume(np.ones((1, 4, 4, 4), np.float32), np.eye(4)), plan())


def _a_blending() -> None:
    from unetr.infer.sweep.slabs import Route, sweep

    image = np.ones((1, 16, 16, 16), np.float32)
    next(sweep(image, found, plan(), Route.whole((16, 16, 16)), (0, 16)))


def _a_loss() -> None:
    from unetr.train.optimise.step import segmentation

    images, classes = torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 4, 4, 4, dtype=torch.long)
    segmentation(torch.nn.Identity(), images, classes, plan(training={"loss": {"name": "dummy"}}))


def _an_augmentation() -> None:
    from unetr.train.samples.augment import augment_intensities

    augment_intensities(np.ones((1, 4, 4, 4), np.float32), AugmentPlan(noise_probability=1), np.random.default_rng(0))


def _an_engine() -> None:
    from unetr.infer.engines import Choice, make_engine

    make_engine(SimpleNamespace(source="test"), Choice("dummy", "cpu", "fp32", "a test"))  # type: ignore[arg-type]


def _a_result_format() -> None:
    from unetr.io.results import write_result

    write_result(Path("scan.dummy"), Volume(np.ones((1, 4, 4, 4), np.uint8), np.eye(4)), None, "test")


def _a_job() -> None:
    with TemporaryDirectory() as folder:
        Path(folder, "request.json").write_text('{"job": "dummy", "request": {"name": "a", "values": [1]}}')
        thing("jobs.apart.__main__.run_asked")(Path(folder), SimpleNamespace())


def _an_advice() -> None:
    from unetr.app.hints import hinted

    assert "dummy advice" in hinted("message", "dummy")
    raise FoundError("found")


# Registry -> the key that is given a stand-in, the stand-in, and what then has to come upon it.
REACHED: dict[str, tuple[str, Any, Callable[[], None]]] = {
    "io.formats.FORMATS": (".dummy", SimpleNamespace(read=found), _a_format),
    "prepare.datasets.cases.LAYOUTS": ("dummy", SimpleNamespace(recognises=found, read=found, looks_for=""), _a_layout),
    "prepare.preprocess.NORMALISATIONS": ("none", found, _a_normalisation),
    "infer.sweep.blending.BLENDINGS": ("gaussian", found, _a_blending),
    "prepare.planning.presets.PRESETS": ("dummy", SimpleNamespace(network=found), _a_preset),
    "prepare.paper.recipes.RECIPES": ("dummy", found, _a_recipe),
    "model.network.peers.PEERS": ("dummy", found, _a_peer),
    "model.network.decoders.DECODERS": ("unetr", found, _a_decoder),
    "model.network.shapes.DECODER_SHAPES": ("unetr", found, _shapes_of_a_decoder),
    "model.graph.decoders.DECODER_GRAPHS": ("unetr", found, _a_decoder_without_torch),
    "train.losses.LOSSES": ("dummy", found, _a_loss),
    "train.samples.augment.INTENSITY_AUGMENTATIONS": ("noise_probability", found, _an_augmentation),
    "infer.engines.ENGINES": ("dummy", found, _an_engine),
    "io.results.RESULT_FORMATS": ("dummy", SimpleNamespace(ending=".dummy", write=found), _a_result_format),
    "jobs.apart.registry.JOBS": ("dummy", SimpleNamespace(name="dummy", request=Target, run=found, asks=False), _a_job),
    "app.hints.HINTS": ("dummy", "dummy advice", _an_advice),
}
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
