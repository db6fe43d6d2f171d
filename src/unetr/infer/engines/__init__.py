"""Engines: what executes the network. Each is a function (opened model, device, precision) -> (windows -> logits).

Adding an engine is one function and one line in ENGINES. Nothing is imported before an engine is used.
"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from unetr.errors import InputError
from unetr.infer.sweep.finite import finite
from unetr.infer.sweep.windows import Engine
from unetr.model.open_model import Opened

PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs a model. engine: a key of ENGINES. precision: fp32 or bf16. reason: for people, a few words."""

    engine: str
    device: str
    precision: str
    reason: str

    def __str__(self) -> str:
        return f"engine {self.engine} on {self.device} in {self.precision} ({self.reason})"


def _openvino(opened: Opened, device: str, precision: str) -> Engine:
    from unetr.infer.engines.openvino import openvino_engine

    return openvino_engine(opened, precision)


def _torch(opened: Opened, device: str, precision: str) -> Engine:
    from unetr.infer.engines.torch import torch_engine

    return torch_engine(opened, device, precision)


def _onnx(opened: Opened, device: str, precision: str) -> Engine:
    from unetr.infer.engines.onnx import onnx_engine

    return onnx_engine(opened)


ENGINES: dict[str, Callable[[Opened, str, str], Engine]] = {"openvino": _openvino, "torch": _torch, "onnx": _onnx}


def make_engine(opened: Opened, choice: Choice) -> Engine:
    """The engine, which raises InputError for scores that are not finite.

    Raises InputError for a model that the engine cannot run, MachineError for what is not installed or not there.
    """
    return finite(ENGINES[choice.engine](opened, choice.device, choice.precision), opened.source)


def choose_engine(opened: Opened, engine: str = "auto", device: str = "auto", precision: str = "auto") -> Choice:
    """What runs the model on this machine; `auto` asks the machine.

    A GPU runs torch; a CPU runs OpenVINO, or what is installed of onnxruntime and torch. bf16 where the device has it
    in hardware. Raises InputError for names that are none, MachineError for a device or library that is not there.
    """
    if engine not in ("auto", *ENGINES):
        raise InputError(f"engine {engine}: is unknown; expected one of auto, {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision}: is unknown; expected one of {', '.join(PRECISIONS)}")
    reason = "asked for"
    if engine == "auto":
        engine, reason = _suitable_engine(opened, device)
    if engine == "torch":
        from unetr.infer.engines.torch import choose_device, has_fast_bf16

        found = choose_device(device)
        if precision == "auto":
            precision = "bf16" if has_fast_bf16(found) else "fp32"
        return Choice(engine, str(found), precision, reason)
    if device not in ("auto", "cpu"):
        raise InputError(
            f"device {device}: is not one of engine {engine}; expected cpu, or engine torch", hint="engine"
        )
    if engine == "onnx":
        if precision == "bf16":
            raise InputError(
                "precision bf16: engine onnx has fp32 only; expected engine openvino or torch", hint="engine"
            )
        return Choice(engine, "cpu", "fp32", reason)
    if precision == "auto":
        from unetr.infer.engines.openvino import has_bf16

        precision = "bf16" if has_bf16() else "fp32"
    return Choice(engine, "cpu", precision, reason)


def _suitable_engine(opened: Opened, device: str) -> tuple[str, str]:
    runs_torch = opened.kind == "model" and find_spec("torch") is not None
    if device not in ("auto", "cpu"):
        return "torch", "the device asked for"
    if opened.plan.network.peer is not None:
        return "torch", "the only one for networks of other projects"
    if device == "auto" and runs_torch and _may_have_gpu():
        # Only now, since importing torch takes seconds.
        from unetr.infer.engines.torch import choose_device

        if choose_device("auto").type != "cpu":
            return "torch", "there is a GPU"
    if find_spec("openvino") is not None:
        return "openvino", "fastest on a CPU"
    if opened.kind == "onnx" and find_spec("onnxruntime") is not None:
        return "onnx", "OpenVINO is not installed"
    return "torch", "OpenVINO is not installed"


def _may_have_gpu() -> bool:
    """Signs of a GPU that cost nothing to look for."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or shutil.which("nvidia-smi") is not None
