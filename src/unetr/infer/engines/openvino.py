"""The OpenVINO engine, the default on CPUs: model files, exported OpenVINO networks and ONNX files. Needs no torch."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from io import BytesIO
from threading import local
from typing import Any

import numpy as np

from unetr.core.machine.system import available_cores
from unetr.core.version import __version__
from unetr.errors import InputError, MachineError
from unetr.infer.engines.compiled_cache import cache_key, read_compiled, write_compiled
from unetr.infer.sweep.windows import Engine, Float
from unetr.model.open_model import Opened

_HINTS = {"fp32": "f32", "bf16": "bf16"}


def has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX). Raises MachineError."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def openvino_engine(opened: Opened, precision: str) -> Engine:
    """Compiles the network for this CPU. precision: fp32 or bf16.

    Raises InputError for a network that does not fit its plan, MachineError where OpenVINO is missing.
    """
    core = _core()
    config = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        # One window at a time on all cores: a window fills them, and memory is that of one.
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(available_cores()),
    }
    compiled = _compiled(core, opened, config)
    # A request for each thread: one that runs refuses a second call.
    of_thread = local()
    of_thread.request = compiled.create_infer_request()

    def run(windows: Float) -> Float:
        if not hasattr(of_thread, "request"):
            of_thread.request = compiled.create_infer_request()
        request = of_thread.request
        found = []
        for window in windows:
            one = np.ascontiguousarray(window[None])
            logits = request.infer({0: one}, share_inputs=True, share_outputs=True)[0]
            if len(windows) == 1:
                return logits  # type: ignore[no-any-return]
            found.append(logits.copy())
        return np.concatenate(found)

    return run


def _compiled(core: Any, opened: Opened, config: dict[str, str]) -> Any:
    """From the cache, or compiled and put there."""
    from unetr.model.graph.openvino.runtime import ov

    made_by = (__version__, ov.get_version(), core.get_property("CPU", "FULL_DEVICE_NAME"), sorted(config.items()))
    key = cache_key(opened, repr((made_by, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))))
    blob = None if key is None else read_compiled(key)
    if blob is not None:
        # A blob of another build of the runtime that calls itself the same is refused by it.
        with suppress(RuntimeError):
            return core.import_model(ov.Tensor(blob), "CPU", config)
    compiled = core.compile_model(openvino_network_of(core, opened), "CPU", config)
    if key is not None:
        with suppress(RuntimeError, MemoryError):
            stream = BytesIO()
            compiled.export_model(stream)
            write_compiled(key, stream.getvalue())
    return compiled


def openvino_network_of(core: Any, opened: Opened) -> Any:
    """The network of an opened model, not compiled. Raises InputError for one that OpenVINO cannot read."""
    from unetr.model.graph.forward import build_graph
    from unetr.model.graph.openvino.graph import OpenVINOOperations, is_network_of, openvino_network

    if opened.kind == "model":
        operations = OpenVINOOperations()
        weights = {name: np.asarray(array) for name, array in opened.model.weights.items()}
        return openvino_network(build_graph(operations, opened.plan, weights, opened.source), operations)
    try:
        if opened.kind == "openvino":
            from unetr.model.graph.openvino.runtime import ov

            constants = np.frombuffer(opened.constants, np.uint8)
            network = core.read_model(opened.network, ov.Tensor(constants))
        else:
            network = core.read_model(opened.network)
    except RuntimeError as error:
        raise InputError(
            f"{opened.source}: OpenVINO cannot read it ({str(error).splitlines()[0]}); export it again"
        ) from None
    expected = (1, opened.plan.in_channels, *opened.plan.window)
    found = tuple(network.inputs[0].shape)
    if found != expected:
        raise InputError(
            f"{opened.source}: its network takes windows {found}, its plan says {expected}; export it again"
        )
    # That an ONNX file is the network of its plan was seen when it was opened.
    if opened.kind == "openvino" and not is_network_of(network, opened.plan, len(opened.constants)):
        raise InputError(f"{opened.source}: its network is not the one of its plan; export it again")
    return network


def _core() -> Any:
    try:
        from unetr.model.graph.openvino.runtime import ov  # noqa: F401
    except ImportError:
        raise MachineError("engine openvino: OpenVINO is not installed; run: pip install openvino") from None
    return _core_of_the_process()


@cache
def _core_of_the_process() -> Any:
    # One, never given back: a CPU plugin puts its own alternate signal stack on the thread that made it and takes it
    # away when it goes. Of two that go in the order they came, the second puts back a stack that the first has
    # unmapped, and the next signal (Ctrl-C, SIGTERM) ends the process as a segmentation fault.
    from unetr.model.graph.openvino.runtime import ov

    return ov.Core()
