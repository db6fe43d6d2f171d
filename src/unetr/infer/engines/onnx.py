"""The ONNX engine, for machines that have onnxruntime: runs what `unetr export --to onnx` wrote, in float32."""

from __future__ import annotations

import numpy as np

from unetr.core.machine.system import available_cores
from unetr.errors import InputError, MachineError
from unetr.infer.sweep.windows import Engine, Float
from unetr.model.open_model import Opened


def onnx_engine(opened: Opened) -> Engine:
    """Raises InputError for what is not an ONNX file, MachineError where onnxruntime is missing."""
    if opened.kind != "onnx":
        raise InputError(f"{opened.source}: engine onnx runs .onnx files; export the model first", hint="to")
    try:
        import onnxruntime
    except ImportError:
        raise MachineError("engine onnx: onnxruntime is not installed; run: pip install 'unetr[onnx]'") from None
    onnxruntime.disable_telemetry_events()  # the builds for Windows have it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    options.log_severity_level = 3  # errors only: what it warns of concerns its authors
    try:
        session = onnxruntime.InferenceSession(opened.network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # onnxruntime's errors have no common type
        reason = str(error).splitlines()[0]
        raise InputError(f"{opened.source}: onnxruntime cannot read it ({reason}); export it again") from None
    (windows_input,) = session.get_inputs()
    expected = [1, opened.plan.in_channels, *opened.plan.window]
    found = windows_input.shape
    if found != expected:
        raise InputError(
            f"{opened.source}: its network takes windows {found}, its plan says {expected}; export it again"
        )

    def run(windows: Float) -> Float:
        try:
            logits = [session.run(None, {windows_input.name: np.ascontiguousarray(one[None])})[0] for one in windows]
        except Exception as error:
            raise InputError(
                f"{opened.source}: onnxruntime cannot run it ({str(error).splitlines()[0]}); export it again"
            ) from error
        return np.concatenate(logits) if len(logits) > 1 else logits[0]

    return run
