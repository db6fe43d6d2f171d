"""Weights in fewer bytes: how far they may move, and that files with them are read as any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetr.errors import InputError
from unetr.model.file.compact import compacted, expanded
from unetr.model.file.model_file import compact, read_model, write_model

MATRICES = hnp.arrays(np.float32, (9, 500), elements=st.floats(-100, 100, width=32))


@given(MATRICES)
def test_a_matrix_moves_by_half_a_step_of_its_row(matrix: np.ndarray) -> None:
    small = compacted({"m.weight": matrix}, "x")
    assert small["m.weight"].dtype == np.int8
    found = expanded(small)
    assert list(found) == ["m.weight"]
    step = np.abs(matrix).max(axis=1, keepdims=True) / 127
    assert (np.abs(found["m.weight"] - matrix) <= step * 0.501 + 1e-30).all()


def test_what_can_be_said_exactly_is() -> None:
    matrix = np.arange(-127, 128, dtype=np.float32).repeat(20).reshape(255, 20)
    matrix[:, 0] = 127 * 0.25 * np.arange(1, 256)
    matrix[:, 1:] = 0.25 * np.arange(1, 256)[:, None] * np.arange(-9, 10)
    kernel = np.random.default_rng(0).normal(size=(4, 3, 3, 3, 3)).astype(np.float16).astype(np.float32)
    weights = {"m.weight": matrix, "k.weight": kernel, "embedding.position": matrix[:, :8].astype(np.float16)}
    found = expanded(compacted(weights, "x"))
    for name, weight in weights.items():
        np.testing.assert_allclose(found[name], weight, rtol=1e-6)
        assert found[name].dtype == np.float32
    assert compacted(weights, "x")["embedding.position"].dtype == np.float16


def test_other_weights_are_left_as_they_are() -> None:
    weights = {"a": np.arange(3), "b.row_factor": np.ones(2, np.float32)}
    found = expanded(weights)
    assert found["a"] is weights["a"] and found["b.row_factor"] is weights["b.row_factor"]


@pytest.mark.parametrize("value", [1e6, np.nan, np.inf])
@pytest.mark.parametrize("shape", [(3,), (70, 70)])
def test_what_cannot_be_said_is_refused(value: float, shape: tuple[int, ...]) -> None:
    weight = np.full(shape, value, np.float32)
    if value == 1e6 and shape == (70, 70):
        assert np.allclose(expanded(compacted({"w": weight}, "x"))["w"], 1e6)
        return
    with pytest.raises(InputError, match=r"file: weight w (has values beyond|is not finite)"):
        compacted({"w": weight}, "file")


def test_a_compact_file_is_a_model_file(tiny_model: Path, tmp_path: Path) -> None:
    model = read_model(tiny_model)
    weights = {**model.weights, "big": np.random.default_rng(0).normal(size=(96, 96)).astype(np.float32)}
    model = replace(model, weights=weights)
    sizes = [write_and_size(tmp_path / "full", model), write_and_size(tmp_path / "small", compact(model))]
    assert sizes[1] < 0.6 * sizes[0]
    small = read_model(tmp_path / "small")
    assert small.weights.keys() == weights.keys()
    assert (small.plan, small.metrics, small.licence) == (model.plan, model.metrics, model.licence)
    for name, weight in weights.items():
        largest = np.abs(np.asarray(weight)).max()
        np.testing.assert_allclose(small.weights[name], np.asarray(weight), atol=largest / 250)


def write_and_size(path: Path, model) -> int:  # type: ignore[no-untyped-def]
    write_model(path, model)
    return path.stat().st_size
