"""The model file: round trips, the safetensors library as oracle, and everything that must be refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors import safe_open
from safetensors.numpy import save_file

from unetr.core.plan.fingerprint import Fingerprint, IntensityStatistics
from unetr.errors import InputError, MachineError
from unetr.model.file.model_file import ModelFile, read_model, write_model
from unetr.model.file.sealed import read_sealed, write_sealed
from unetr.model.network.build import build_network
from unetr.model.torch_network import network_from


@pytest.fixture
def path(model: ModelFile, tmp_path: Path) -> Path:
    write_model(tmp_path / "model.safetensors", model)
    return tmp_path / "model.safetensors"


def test_round_trip(model: ModelFile, tmp_path: Path) -> None:
    statistics = IntensityStatistics(
        minimum=0, maximum=9, mean=2, std=1, percentile_00_5=0, median=2, percentile_99_5=8
    )
    fingerprint = Fingerprint(
        dataset="test",
        cases=1,
        shapes=[(4, 5, 6)],
        spacings_mm=[(1.0, 1.0, 2.5)],
        orientations={"RAS": 1},
        channels={"T1": statistics},
        labels=[],
        intensity_scale_spread=1.0,
    )
    digest = write_model(tmp_path / "a.safetensors", dataclasses.replace(model, fingerprint=fingerprint))
    found = read_model(tmp_path / "a.safetensors")
    assert found.plan == model.plan
    assert found.fingerprint == fingerprint
    assert found.metrics == {"dice": 0.5, "absent": None, "cases": ["a", 'b "quoted" ü']}
    assert found.licence == "CC-BY 4.0\nJane Doe"
    assert found.created_by.startswith("unetr ")
    assert found.sha256 == digest
    assert found.weights.keys() == model.weights.keys()
    for name, array in model.weights.items():
        np.testing.assert_array_equal(found.weights[name], array)


def test_writing_again_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "again.safetensors", read_model(path))
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_network_gives_the_same_logits(model: ModelFile, path: Path) -> None:
    plan = model.plan
    before = build_network(plan.network, 1, plan.outputs, plan.window, seed=3).eval()
    x = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(before(x), network_from(read_model(path))(x))


def test_torch_tensors_are_written_like_arrays(model: ModelFile, path: Path, tmp_path: Path) -> None:
    tensors = {name: torch.as_tensor(array) for name, array in model.weights.items()}
    write_model(tmp_path / "tensors.safetensors", dataclasses.replace(model, weights=tensors))
    assert (tmp_path / "tensors.safetensors").read_bytes() == path.read_bytes()


def test_the_safetensors_library_reads_it(model: ModelFile, path: Path) -> None:
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
        assert metadata["format"] == "unetr-model"
        assert json.loads(metadata["plan"])["window"] == [16, 16, 16]
        assert set(file.keys()) == set(model.weights)
        for name in file.keys():  # noqa: SIM118
            np.testing.assert_array_equal(file.get_tensor(name), model.weights[name])


def test_the_digest_is_that_of_the_file_with_the_digest_blanked(path: Path) -> None:
    data = path.read_bytes()
    with safe_open(path, framework="np") as file:
        stored = file.metadata()["sha256"]
    assert hashlib.sha256(data.replace(stored.encode(), b"0" * 64)).hexdigest() == stored


def test_reading_does_not_import_torch(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from unetr.model.file.model_file import read_model;"
        "read_model(Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.sampled_from(["<f4", "<f8", "<i8", "|u1", "|b1", "<f2"]).flatmap(
            lambda dtype: arrays(np.dtype(dtype), array_shapes(min_dims=0, min_side=0, max_side=4))
        ),
        max_size=5,
    ),
    st.dictionaries(st.text(max_size=8).filter(lambda key: key != "sha256"), st.text(max_size=20), max_size=4),
)
def test_sealed_files_return_what_they_got(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Any], metadata: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "x.safetensors"
    written = metadata | {"format": "test", "format_version": "1"}
    digest = write_sealed(path, tensors, written)
    found, found_metadata = read_sealed(path, "test")
    assert found_metadata == written | {"sha256": digest}
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_any_flipped_bit_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    random = np.random.default_rng(0)
    everywhere = random.integers(0, 8 * len(data), 200)
    in_header = random.integers(0, 8 * header, 300)
    at_ends = [*range(64), *range(8 * header - 64, 8 * header + 8), *range(8 * len(data) - 8, 8 * len(data))]
    accepted = []
    for bit in [*everywhere, *in_header, *at_ends]:
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(data)
        try:
            read_model(path)
            accepted.append(bit)
        except InputError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
        data[bit // 8] ^= 1 << (bit % 8)
    assert accepted == []


def test_any_truncation_is_refused(path: Path) -> None:
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    for size in [0, 1, 7, 8, 9, header - 1, header, header + 1, len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"model\.safetensors"):
            read_model(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(InputError, match="damaged"):
        read_model(path)


def test_a_hostile_header_with_a_right_digest_is_refused(tmp_path: Path) -> None:
    """Whoever can compute the digest still cannot make arrays overlap, leave gaps or lie about their size."""
    path = tmp_path / "hostile.safetensors"
    honest = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    hostile: list[dict[str, Any]] = [
        {"a": honest | {"shape": [3]}},
        {"a": honest | {"shape": [-1, 0]}},
        {"a": honest | {"dtype": "F128"}},
        {"a": honest | {"data_offsets": [0, 1 << 60]}},
        {"a": honest | {"data_offsets": [4, 8]}},
        {"a": honest | {"data_offsets": [0, 4], "shape": [1]}},
        {"a": honest | {"data_offsets": ["0", "8"]}},
        {"a": honest, "b": honest},
        {"a": [1, 2]},
        {"a": None},
        {},
    ]
    for entries in hostile:
        text = json.dumps({"__metadata__": {"sha256": "0" * 64, "format": "t", "format_version": "1"}, **entries})
        data = len(text).to_bytes(8, "little") + text.encode() + bytes(8)
        path.write_bytes(data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1))
        with pytest.raises(InputError, match="contradicts its contents"):
            read_sealed(path, "t")


def foreign(path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, path)


def foreign_with_metadata(path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, path, {"format": "pt"})


def checkpoint(path: Path) -> None:
    write_sealed(path, {}, {"format": "unetr-checkpoint"})


def newer(path: Path) -> None:
    write_sealed(path, {}, {"format": "unetr-model", "format_version": "2"})


def unsealed(path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, path, {"format": "unetr-model", "format_version": "1"})


def no_plan(path: Path) -> None:
    write_sealed(path, {}, {"format": "unetr-model"})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "is a folder"),
        (lambda path: torch.save({"a": torch.zeros(3)}, path), "pickled PyTorch file"),
        (lambda path: torch.save({}, path, _use_new_zipfile_serialization=False), "pickled PyTorch file"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "pickled PyTorch file"),
        (lambda path: path.write_text("not a model\n" * 9), "not a safetensors file"),
        (lambda path: path.write_bytes(b"\x10" + bytes(30)), "header is damaged"),
        (lambda path: path.write_bytes(b"\x02" + bytes(7) + b"[]"), "header is damaged"),
        (foreign, "no unetr metadata"),
        (foreign_with_metadata, "is a pt file"),
        (checkpoint, "is a unetr-checkpoint file, expected a unetr-model file"),
        (newer, "version 2, this program reads version 1"),
        (unsealed, "SHA-256 does not match"),
        (no_plan, "no metadata entry 'plan'"),
    ],
)
def test_what_is_no_model_file_is_refused(make: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    path = tmp_path / "über model.safetensors"
    make(path)
    with pytest.raises(InputError, match=words) as caught:
        read_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("plan", '{"colour": 1}', "plan: "),
        ("plan", "{", "not JSON"),
        ("fingerprint", '{"cases": 1}', "fingerprint: "),
        ("metrics", "{", "not JSON"),
    ],
)
def test_metadata_that_make_no_sense_are_refused(path: Path, key: str, text: str, words: str) -> None:
    tensors, metadata = read_sealed(path, "unetr-model")
    write_sealed(path, tensors, metadata | {key: text})
    with pytest.raises(InputError, match=words):
        read_model(path)


def test_weights_that_do_not_fit_are_all_listed(model: ModelFile) -> None:
    weights = dict(model.weights)
    weights["renamed"] = weights.pop("decoder.head.bias")
    del weights["encoder.blocks.1.mlp_norm.bias"]
    weights["embedding.position"] = np.zeros((7, 24), np.float32)
    with pytest.raises(InputError) as caught:
        network_from(dataclasses.replace(model, weights=weights, source="m.safetensors"))
    for words in (
        "m.safetensors",
        "missing decoder.head.bias, encoder.blocks.1.mlp_norm.bias",
        "unexpected renamed",
        "embedding.position is (7, 24), not (8, 24)",
    ):
        assert words in str(caught.value)


def test_an_impossible_plan_is_an_input_error(model: ModelFile) -> None:
    plan = model.plan.model_copy(update={"network": model.plan.network.model_copy(update={"decoder": "fpn"})})
    with pytest.raises(InputError, match=r"the model: network\.decoder"):
        network_from(dataclasses.replace(model, plan=plan))


def test_a_failed_write_leaves_the_old_file(model: ModelFile, path: Path) -> None:
    before = path.read_bytes()
    weights = dict(model.weights) | {"zz": np.array(["text"])}
    with pytest.raises(ValueError, match="zz: <U4 cannot be stored"):
        write_model(path, dataclasses.replace(model, weights=weights))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_write_into_a_file_is_a_machine_error(model: ModelFile, path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be written"):
        write_model(path / "inside.safetensors", model)
