"""Exported networks: what comes back, and that nothing changed or foreign is ever opened."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.model.onnx_encodings import OTHER_WAYS, fields
from tests.tiny import tiny_file

from unetr.errors import InputError
from unetr.infer.engines import choose_engine, make_engine
from unetr.model.export import EXPORTS
from unetr.model.file.model_file import ModelFile
from unetr.model.graph.onnx.metadata import onnx_metadata
from unetr.model.open_model import open_model


@pytest.fixture(scope="module")
def model() -> ModelFile:
    return tiny_file('quotes " < & \n and ü', {"mean_dice": 0.5})


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


def _sealed_onnx(network: onnx.ModelProto, path: Path) -> None:
    """Writes a network with the digest of its bytes, which holds no secret."""
    for entry in [entry for entry in network.metadata_props if entry.key == "sha256"]:
        entry.value = "0" * 64
    blank = network.SerializeToString()
    path.write_bytes(blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1))


def _elsewhere(tensor: TensorProto) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    return tensor


def _largest(network: onnx.ModelProto) -> TensorProto:
    return max(network.graph.initializer, key=lambda one: len(one.raw_data))


def _external_constant(network: onnx.ModelProto) -> None:
    tensor = _elsewhere(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1]))
    network.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))


def _external_in_a_branch(network: onnx.ModelProto) -> None:
    _external_constant(network)
    inside = helper.make_graph([network.graph.node.pop(0)], "inside", [], [])
    network.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=inside, else_branch=inside))


def _not_finite(network: onnx.ModelProto) -> None:
    tensor = _largest(network)
    tensor.raw_data = np.array([np.nan], "<f4").tobytes() + tensor.raw_data[4:]


HIDDEN: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "weights elsewhere, too": (
        lambda n: n.graph.initializer[0].external_data.add(key="location", value="/etc/hostname"),
        "keeps weights in another file",
    ),
    "weights elsewhere": (lambda n: _elsewhere(_largest(n)), "keeps weights in another file"),
    "a constant elsewhere": (_external_constant, "keeps weights in another file"),
    "a constant elsewhere in a branch": (_external_in_a_branch, "keeps weights in another file"),
    "a sparse tensor elsewhere": (
        lambda n: _elsewhere(n.graph.sparse_initializer.add(dims=[1]).values),
        "keeps weights in another file",
    ),
    "a function": (lambda n: n.functions.add(name="f", domain="x"), "not the one of its plan"),
    "another operation": (lambda n: setattr(n.graph.node[-1], "op_type", "Neg"), "not the one of its plan"),
    "a weight that is NaN": (_not_finite, "NaN or infinite"),
    "another domain": (lambda n: setattr(n.graph.node[0], "domain", "ai.onnx.contrib"), "not the one of its plan"),
    "another shape": (lambda n: n.graph.initializer[0].dims.append(1), "not the one of its plan"),
    "another constant": (
        lambda n: setattr(_whole_numbers(n), "raw_data", np.full(len(_whole_numbers(n).raw_data) // 8, 99).tobytes()),
        "not the one of its plan",
    ),
    "options for a runtime": (lambda n: n.metadata_props.add(key="ort_config", value="{}"), "ort_config"),
    "notes on values": (lambda n: n.graph.value_info.add(name="x"), "not the one of its plan"),
    "another input": (lambda n: n.graph.input.add(name="x"), "not the one of its plan"),
}


def _whole_numbers(network: onnx.ModelProto) -> TensorProto:
    return next(one for one in network.graph.initializer if one.data_type == TensorProto.INT64)


@pytest.mark.fault("ONNX files that hold something else")
@pytest.mark.parametrize("name", HIDDEN)
def test_a_sealed_file_that_is_not_as_exported_is_refused(name: str, exported: Callable[[str], Path]) -> None:
    change, said = HIDDEN[name]
    path = exported("onnx")
    network = onnx.load(path)
    _sealed_onnx(network, path)
    open_model(path)
    change(network)
    _sealed_onnx(network, path)
    with pytest.raises(InputError, match=rf"model\.onnx: .*({said})"):
        open_model(path)


@pytest.mark.fault("ONNX files written in another way")
@pytest.mark.parametrize("way", OTHER_WAYS)
@pytest.mark.parametrize("key", [0x08, 0x3A, 0x42, 0x72], ids=["ir_version", "graph", "opset", "metadata"])
def test_a_file_in_another_encoding_is_refused(way: str, key: int, exported: Callable[[str], Path]) -> None:
    path = exported("onnx")
    sealed = onnx_metadata(path.read_bytes())
    assert sealed is not None
    parts = fields(path.read_bytes().replace(sealed["sha256"].encode(), b"0" * 64))
    at = next(index for index, part in enumerate(parts) if part[0] == key)
    parts[at] = OTHER_WAYS[way](parts[at])
    blank = b"".join(parts)
    path.write_bytes(blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1))
    with pytest.raises(InputError, match=r"model\.onnx: "):
        open_model(path)


HIDDEN_XML = {
    "a declaration": ('<?xml version="1.0"?>', '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "b">]>', "declarations"),
    "an operation": ('type="Add"', 'type="TensorIterator"', "TensorIterator"),
    "an extension's operation": ('type="Add" version="opset1"', 'type="Add" version="extension"', "own operations"),
    "a constant beyond the weights": ('offset="0"', 'offset="99999999"', "constant of"),
    "a constant of another size": ('offset="0" size="', 'offset="0" size="1', "constant of"),
    "a negative place": ('offset="0"', 'offset="-8"', "without its place"),
    "another type": ('element_type="f32" shape="2', 'element_type="string" shape="2', "another type"),
    "a body": ("<edges>", "<edges><body/>", "body in edges"),
    "a file": ('<data element_type="f32"', '<data path="../x.bin" element_type="f32"', "without its place"),
}


@pytest.mark.fault("OpenVINO networks that hold something else")
@pytest.mark.parametrize("name", HIDDEN_XML)
def test_an_openvino_network_that_is_not_as_exported_is_refused(name: str, exported: Callable[[str], Path]) -> None:
    before, after, said = HIDDEN_XML[name]
    path = exported("openvino")
    text = path.read_text()
    assert before in text
    _sealed_xml(path, text)
    open_model(path)
    _sealed_xml(path, text.replace(before, after, 1))
    with pytest.raises(InputError, match=rf"model\.xml: .*{said}"):
        open_model(path)


def _sealed_xml(path: Path, text: str) -> None:
    blank = re.sub("sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", text).encode()
    digest = hashlib.sha256(blank + path.with_suffix(".bin").read_bytes()).hexdigest()
    path.write_bytes(blank.replace(b"sha256:" + b"0" * 64, b"sha256:" + digest.encode()))


@pytest.mark.fault("OpenVINO networks that hold something else")
def test_weights_of_an_openvino_network_are_finite(exported: Callable[[str], Path]) -> None:
    path = exported("openvino")
    place = re.search(r'element_type="f32" shape="[^"]*" offset="(\d+)"', path.read_text())
    assert place is not None
    constants = bytearray(path.with_suffix(".bin").read_bytes())
    constants[int(place[1]) : int(place[1]) + 4] = np.array(np.inf, "<f4").tobytes()
    path.with_suffix(".bin").write_bytes(constants)
    _sealed_xml(path, path.read_text())
    with pytest.raises(InputError, match=r"model\.xml: .*NaN or infinite"):
        open_model(path)


@pytest.mark.fault("OpenVINO networks that hold something else")
@pytest.mark.parametrize(
    "before,after", [('pads_end="1, 1, 1"', 'pads_end="9, 9, 9"'), ('eps="', 'eps="1'), ('axis="1"', 'axis="0"')]
)
def test_openvino_runs_only_the_network_of_the_plan(before: str, after: str, exported: Callable[[str], Path]) -> None:
    """Operations and files are sound, but it is another network: OpenVINO reads it, and it is refused then."""
    path = exported("openvino")
    text = path.read_text()
    assert before in text
    choice = choose_engine(open_model(path), "openvino", "cpu", "fp32")
    make_engine(open_model(path), choice)
    _sealed_xml(path, text.replace(before, after, 1))
    with pytest.raises(InputError, match=r"model\.xml: (its network is not the one|OpenVINO cannot read it)"):
        make_engine(open_model(path), choice)
