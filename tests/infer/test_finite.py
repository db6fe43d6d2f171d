"""Scores and weights that are no numbers never become a segmentation, in any engine."""

from pathlib import Path

import numpy as np
import pytest
from tests.tiny import tiny_file

from unetr.errors import InputError
from unetr.infer.engines import choose_engine, make_engine
from unetr.infer.load import load
from unetr.infer.sweep.finite import finite
from unetr.infer.sweep.slabs import Route, sweep
from unetr.model.export import EXPORTS
from unetr.model.file.model_file import ModelFile, compact, read_model, write_model
from unetr.model.file.sealed import read_sealed, write_sealed
from unetr.model.open_model import open_model


@pytest.fixture(scope="module")
def model() -> ModelFile:
    return tiny_file()


BAD = [np.nan, np.inf, -np.inf]


@pytest.mark.fault("weights that are not finite")
@pytest.mark.parametrize("value", [*BAD, np.float32(3.4e38)])
@pytest.mark.parametrize("name", ["decoder.head.bias", "embedding.position", "encoder.blocks.1.mlp_norm.weight"])
def test_a_weight_that_is_not_finite_is_refused(model: ModelFile, tmp_path: Path, name: str, value: float) -> None:
    weights = {key: np.array(array) for key, array in model.weights.items()}
    weights[name].flat[-1] = value
    path = tmp_path / "broken.safetensors"
    write_model(path, ModelFile(model.plan, None, {}, "CC0", weights))
    with pytest.raises(InputError, match=rf"broken\.safetensors: weight {name} has values that are NaN or infinite"):
        open_model(path)


@pytest.mark.fault("weights that are not finite")
def test_weights_are_checked_as_they_are_expanded(model: ModelFile, tmp_path: Path) -> None:
    path = tmp_path / "compact.safetensors"
    large = ModelFile(model.plan, None, {}, "CC0", {**model.weights, "wide": np.ones((100, 100), np.float32)})
    write_model(path, compact(large))
    read_model(path)
    arrays, metadata = read_sealed(path, "unetr-model")
    factor = arrays["wide.row_factor"].copy()
    factor[3] = np.inf
    write_sealed(path, arrays | {"wide.row_factor": factor}, metadata)
    with pytest.raises(InputError, match="wide has values that are NaN or infinite"):
        read_model(path)
    write_sealed(path, arrays | {"decoder.head.bias": np.array([1, np.inf], np.float16)}, metadata)
    with pytest.raises(InputError, match=r"decoder\.head\.bias has values that are NaN or infinite"):
        read_model(path)


@pytest.mark.fault("weights of another type")
@pytest.mark.parametrize("dtype", [np.float64])
def test_weights_are_float32(model: ModelFile, tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "double.safetensors"
    weights = {name: np.asarray(array).astype(dtype) for name, array in model.weights.items()}
    write_model(path, ModelFile(model.plan, None, {}, "CC0", weights))
    with pytest.raises(InputError, match="expected float32"):
        read_model(path)


@pytest.mark.fault("scores that are not finite")
@pytest.mark.parametrize(
    "kind,engine", [("torch", "torch"), ("torch", "openvino"), ("onnx", "onnx"), ("onnx", "openvino")]
)
def test_no_engine_gives_scores_that_are_not_finite(model: ModelFile, tmp_path: Path, kind: str, engine: str) -> None:
    """Weights that are numbers, but so large that their products are none."""
    weights = {name: np.asarray(array) for name, array in model.weights.items()}
    weights["decoder.head.weight"] = np.full_like(weights["decoder.head.weight"], 3e38)
    path = tmp_path / f"large{EXPORTS[kind][1]}"
    EXPORTS[kind][0](ModelFile(model.plan, None, {}, "CC0", weights), path, lambda temporary: None)
    opened = open_model(path)
    run = make_engine(opened, choose_engine(opened, engine, "cpu", "fp32"))
    windows = np.random.default_rng(0).normal(size=(1, 1, 8, 8, 8)).astype(np.float32)
    with pytest.raises(InputError, match=rf"{path.name}: gives scores that are NaN or infinite"):
        run(windows)
    scan = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    with pytest.raises(InputError, match=rf"{path.name}: gives scores"):
        load(path, engine=engine, device="cpu", precision="fp32").predict(scan, np.eye(4), tta=True)


@pytest.mark.fault("scores that are not finite")
@pytest.mark.parametrize("value", BAD)
def test_one_score_is_enough(model: ModelFile, value: float) -> None:
    def engine(windows: np.ndarray) -> np.ndarray:
        logits = np.zeros((1, 2, 8, 8, 8), np.float32)
        logits[0, 1, 3, 4, 5] = value
        return logits

    image = np.zeros((1, 8, 8, 8), np.float32)
    with pytest.raises(InputError, match="the network: gives scores"):
        list(sweep(image, engine, model.plan, Route.whole((8, 8, 8)), (0, 8)))
    with pytest.raises(InputError, match=r"m\.safetensors: gives scores"):
        finite(engine, "m.safetensors")(image[None])
