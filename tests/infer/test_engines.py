"""Which engine runs a model, what is said where one is missing, and that all give the same."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.infer.test_streaming import scan_of
from tests.systems import POSIX

import unetr
from unetr.app.hints import with_hint
from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan
from unetr.errors import InputError, MachineError
from unetr.infer import engines
from unetr.infer.engines import ENGINES, choose_engine, make_engine
from unetr.infer.engines.compiled_cache import LARGEST_BYTES, cache_key
from unetr.model.export import EXPORTS
from unetr.model.file.model_file import ModelFile, read_model, write_model
from unetr.model.network.build import fresh_weights
from unetr.model.open_model import Opened, open_model

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a small model file."""

    def write(name: str = "model.safetensors", seed: int = 0, **changes: object) -> Path:
        fields = {
            "dataset": "engines",
            "channels": (ChannelPlan(name="CT", normalisation="none"),),
            "labels": {"background": 0, "one": 1, "two": 2},
            "spacing_mm": (1.0, 1.0, 1.0),
            "window": (16, 16, 16),
            "network": NetworkPlan(patch=8, width=24, depth=3, heads=2, mlp_width=24, taps=(1, 2, 3), feature_size=4),
        }
        plan = Plan(**(fields | changes))  # type: ignore[arg-type]
        weights = fresh_weights(plan, seed=seed)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_model(tmp_path / name, ModelFile(plan, None, {}, "CC0", weights))
        return tmp_path / name

    return write


@pytest.fixture
def every_kind(make: Make, tmp_path: Path) -> dict[str, Opened]:
    """Engine -> what it runs, of one model."""
    model = make()
    found = {"torch": open_model(model), "openvino": open_model(model)}
    write, _ = EXPORTS["onnx"]
    write(read_model(model), tmp_path / "model.onnx", lambda temporary: None)
    return found | {"onnx": open_model(tmp_path / "model.onnx")}


def test_all_engines_are_tested(every_kind: dict[str, Opened]) -> None:
    assert set(every_kind) == set(ENGINES)


def test_two_windows_at_a_time_are_each_alone(every_kind: dict[str, Opened]) -> None:
    windows = np.random.default_rng(0).normal(size=(2, 1, 16, 16, 16)).astype(np.float32)
    results = {}
    for name, opened in every_kind.items():
        engine = make_engine(opened, choose_engine(opened, name, "cpu", "fp32"))
        both = np.array(engine(windows))
        alone = [np.array(engine(window[None])) for window in windows]
        np.testing.assert_allclose(both, np.concatenate(alone), atol=1e-5)
        results[name] = both
    for found in results.values():
        np.testing.assert_allclose(found, results["torch"], atol=1e-4)


def test_auto_on_a_cpu_is_openvino_and_says_why(every_kind: dict[str, Opened], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_may_have_gpu", lambda: False)
    choice = choose_engine(every_kind["torch"])
    assert choice.engine == "openvino" and choice.precision in ("fp32", "bf16")
    assert str(choice) == f"engine openvino on cpu in {choice.precision} (fastest on a CPU)"

    def without(*names: str) -> None:
        monkeypatch.setattr(engines, "find_spec", lambda name: None if name in names else object())

    without("openvino")
    assert choose_engine(every_kind["onnx"]).engine == "onnx"
    assert choose_engine(every_kind["torch"]).engine == "torch"
    without("openvino", "onnxruntime")
    with pytest.raises(InputError, match=r"engine torch runs model files"):
        make_engine(every_kind["onnx"], choose_engine(every_kind["onnx"]))


@pytest.mark.parametrize(
    ("kind", "engine", "device", "precision", "said"),
    [
        (
            "torch",
            "tensorrt",
            "auto",
            "auto",
            "engine tensorrt: is unknown; expected one of auto, openvino, torch, onnx",
        ),
        ("torch", "auto", "auto", "int8", "precision int8: is unknown; expected one of auto, fp32, bf16"),
        ("torch", "openvino", "cuda", "auto", "device cuda: is not one of engine openvino"),
        ("onnx", "onnx", "cpu", "bf16", "engine onnx has fp32 only"),
        ("torch", "torch", "gpu", "auto", "device gpu: is unknown"),
        ("torch", "onnx", "auto", "auto", "export the model first.*unetr export --to onnx"),
        ("onnx", "torch", "cpu", "fp32", "engine torch runs model files"),
    ],
)
def test_what_cannot_be_is_refused(
    every_kind: dict[str, Opened], kind: str, engine: str, device: str, precision: str, said: str
) -> None:
    with pytest.raises(InputError) as refused:
        make_engine(every_kind[kind], choose_engine(every_kind[kind], engine, device, precision))
    assert re.search(said, with_hint(refused.value))


@pytest.mark.parametrize(
    ("engine", "module", "said"),
    [
        ("onnx", "onnxruntime", r"pip install 'unetr\[onnx\]'"),
        ("openvino", "unetr.model.graph.openvino.runtime", "pip install openvino"),
    ],
)
def test_a_missing_runtime_is_named_with_the_install_line(
    every_kind: dict[str, Opened], engine: str, module: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = every_kind[engine]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MachineError, match=said):
        make_engine(opened, choose_engine(opened, engine))


def test_an_exported_network_of_another_size_is_refused(every_kind: dict[str, Opened]) -> None:
    opened = every_kind["onnx"]
    plan = opened.plan.model_copy(update={"window": (24, 16, 16)})
    model = ModelFile(plan, None, {}, "CC0", {}, source="other.onnx")
    for engine in ("onnx", "openvino"):
        other = Opened("onnx", model, opened.network)
        with pytest.raises(InputError, match=r"other\.onnx: its network takes windows"):
            make_engine(other, choose_engine(other, engine, "cpu", "fp32"))


def test_predicting_with_openvino_imports_no_torch(make: Make) -> None:
    code = (
        "import sys, numpy, unetr\n"
        f"segmenter = unetr.load({str(make())!r}, engine='openvino')\n"
        "found = segmenter.predict(numpy.random.default_rng(0).random((20, 20, 20)), numpy.eye(4))\n"
        "print(found.labels.data.shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == "(1, 20, 20, 20) False"


@POSIX
def test_a_signal_after_several_models_reaches_its_handler(make: Make) -> None:
    code = (
        "import gc, os, signal, unetr\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
        f"held = [unetr.load({str(make())!r}, engine='openvino') for _ in range(3)]\n"
        "while held:\n"
        "    held.pop(0)\n"
        "    gc.collect()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    # faulthandler gives the process an alternate signal stack, as pytest and many a server do.
    run = [sys.executable, "-X", "faulthandler", "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.split().count("handled") == 3


def test_an_ensemble_is_the_mean_of_its_members(make: Make) -> None:
    paths = [make(f"fold{seed}/model.safetensors", seed) for seed in range(2)]
    scan = scan_of((18, 16, 20), "LPS", (1.0, 1.0, 1.0))
    members = [unetr.load(path, precision="fp32").predict(scan, probabilities=True) for path in paths]
    expected = np.mean([member.probabilities.data for member in members], axis=0)  # type: ignore[union-attr]
    # One window covers the scan up to its last voxels; there, blended logits are not blended probabilities.
    middle = (slice(None), slice(2, 16), slice(None), slice(4, 16))
    for given in (paths, paths[0].parents[1]):
        found = unetr.load(given, precision="fp32").predict(scan, probabilities=True)
        assert found.probabilities is not None
        assert np.abs(found.probabilities.data[middle] - expected[middle]).mean() < 0.01
    one_window = scan_of((16, 16, 16), "RAS", (1.0, 1.0, 1.0))
    members = [unetr.load(path, precision="fp32").predict(one_window, probabilities=True) for path in paths]
    expected = np.mean([member.probabilities.data for member in members], axis=0)  # type: ignore[union-attr]
    found = unetr.load(paths, precision="fp32").predict(one_window, probabilities=True)
    np.testing.assert_allclose(found.probabilities.data, expected, atol=1e-5)  # type: ignore[union-attr]


def test_members_of_another_kind_are_refused(make: Make, tmp_path: Path) -> None:
    first, second = make("a.safetensors"), make("b.safetensors", spacing_mm=(2.0, 1.0, 1.0))
    with pytest.raises(
        InputError, match=r"b\.safetensors: its plan has spacing_mm \(2\.0, 1\.0, 1\.0\), that of .*a\.saf"
    ):
        unetr.load([first, second])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"is a folder without model\.safetensors"):
        unetr.load(tmp_path / "nothing")


def test_what_is_not_cached(make: Make) -> None:
    opened = open_model(make())
    large = ModelFile(opened.plan, None, {}, "", {"w": np.empty(LARGEST_BYTES + 1, np.int8)}, sha256="0" * 64)
    assert cache_key(Opened("model", large), "x") is None
    assert cache_key(Opened("onnx", opened.model), "x") is None
    assert cache_key(opened, "x") != cache_key(opened, "y")
