"""Exported networks: what comes back, and that nothing changed or foreign is ever opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from unetr.core.plan import ChannelPlan, NetworkPlan, Plan
from unetr.errors import InputError
from unetr.model.artefact import open_model
from unetr.model.build import build_network
from unetr.model.export import EXPORTS
from unetr.model.file import ModelFile
from unetr.model.onnx_metadata import has_external_data, onnx_metadata


@pytest.fixture(scope="module")
def model() -> ModelFile:
    plan = Plan(
        dataset='quotes " < & \n and ü',
        channels=(ChannelPlan(name="T1"),),
        labels={"background": 0, "one": 1},
        spacing_mm=(1.0, 1.0, 1.0),
        window=(8, 8, 8),
        network=NetworkPlan(patch=4, width=8, depth=2, heads=2, mlp_width=8, taps=(1, 2), feature_size=2),
    )
    network = build_network(plan.network, 1, 2, plan.window, seed=0)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return ModelFile(plan, None, {"mean_dice": 0.5}, "CC0", weights)


@pytest.fixture
def exported(model: ModelFile, tmp_path: Path) -> Callable[[str], Path]:
    def export(target: str) -> Path:
        write, suffix = EXPORTS[target]
        path = tmp_path / f"model{suffix}"
        write(model, path, lambda temporary: None)
        return path

    return export


@pytest.mark.parametrize("target", sorted(EXPORTS))
def test_what_is_known_of_a_model_comes_back(target: str, exported: Callable[[str], Path], model: ModelFile) -> None:
    path = exported(target)
    opened = open_model(path)
    assert opened.kind == {"torch": "model"}.get(target, target)
    assert (opened.plan, opened.fingerprint, opened.source) == (model.plan, None, str(path))
    assert opened.model.metrics == {"mean_dice": 0.5} and len(opened.model.sha256) == 64


@pytest.mark.parametrize("target", sorted(EXPORTS))
def test_one_flipped_bit_is_found(target: str, exported: Callable[[str], Path]) -> None:
    path = exported(target)
    random = np.random.default_rng(0)
    for file in sorted(path.parent.iterdir()):
        sound = file.read_bytes()
        places = {*random.integers(0, len(sound), 30).tolist(), 0, len(sound) - 1}
        for place in places:
            damaged = bytearray(sound)
            damaged[place] ^= 1 << int(random.integers(8))
            file.write_bytes(damaged)
            with pytest.raises(InputError, match=path.stem):
                open_model(path)
        for length in (0, 1, len(sound) // 2, len(sound) - 1):
            file.write_bytes(sound[:length])
            with pytest.raises(InputError, match=path.stem):
                open_model(path)
        file.write_bytes(sound)
    open_model(path)


def test_foreign_and_incomplete_files_are_refused(exported: Callable[[str], Path], tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.onnx"
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [])
    onnx.save(helper.make_model(graph), foreign)
    with pytest.raises(InputError, match=r"foreign\.onnx: is not an ONNX file written by unetr export"):
        open_model(foreign)
    (tmp_path / "other.xml").write_text("<net/>")
    with pytest.raises(InputError, match=r"other\.xml: is not an OpenVINO network written by unetr export"):
        open_model(tmp_path / "other.xml")
    with pytest.raises(InputError, match="no such file"):
        open_model(tmp_path / "absent.onnx")
    path = exported("openvino")
    with pytest.raises(InputError, match=r"give that file"):
        open_model(path.with_suffix(".bin"))
    path.with_suffix(".bin").unlink()
    with pytest.raises(InputError, match=r"model\.bin: no such file"):
        open_model(path)


@pytest.mark.parametrize("target", sorted(EXPORTS))
def test_an_export_that_is_not_accepted_leaves_nothing(target: str, model: ModelFile, tmp_path: Path) -> None:
    write, suffix = EXPORTS[target]

    def refuse(temporary: Path) -> None:
        assert open_model(temporary).plan == model.plan
        raise InputError("not like this")

    with pytest.raises(InputError, match="not like this"):
        write(model, tmp_path / f"out{suffix}", refuse)
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_metadata_or_none(data: bytes) -> None:
    found = onnx_metadata(data)
    assert found is None or all(isinstance(text, str) for item in found.items() for text in item)


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
def test_metadata_are_read_as_onnx_reads_them(entries: dict[str, str]) -> None:
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [])
    made = helper.make_model(graph)
    helper.set_model_props(made, entries)
    assert onnx_metadata(made.SerializeToString()) == entries


def _with_external(place: str) -> onnx.ModelProto:
    """A network in which one tensor's values are in another file, at one of the places where tensors can be."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../secret")
    inside = helper.make_graph([helper.make_node("Constant", [], ["w"], value=tensor)], "inside", [], [])
    nodes, initialisers = [], []
    if place == "initializer":
        initialisers = [tensor]
    elif place == "constant":
        nodes = list(inside.node)
    else:
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=inside, else_branch=inside)]
    return helper.make_model(helper.make_graph(nodes, "graph", [], [], initialisers))


@pytest.mark.parametrize("place", ["initializer", "constant", "subgraph"])
def test_weights_in_other_files_are_found(place: str) -> None:
    network = _with_external(place)
    assert has_external_data(network.SerializeToString())
    every = [*network.graph.initializer, *(a.t for n in network.graph.node for a in n.attribute)]
    every += [a.t for n in network.graph.node for b in n.attribute for m in b.g.node for a in m.attribute]
    for tensor in every:
        del tensor.external_data[:]
    assert not has_external_data(network.SerializeToString())


def test_a_sealed_file_with_weights_elsewhere_is_refused(exported: Callable[[str], Path]) -> None:
    path = exported("onnx")
    network = onnx.load(path)
    weights = network.graph.initializer[0]
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/hostname")
    (seal,) = (entry for entry in network.metadata_props if entry.key == "sha256")
    seal.value = "0" * 64
    seal.value = hashlib.sha256(network.SerializeToString()).hexdigest()
    path.write_bytes(network.SerializeToString())
    with pytest.raises(InputError, match="keeps weights in another file"):
        open_model(path)
