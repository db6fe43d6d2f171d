"""OpenVINO, imported in this one place, where its usage events are blocked for certain. Raises ImportError."""

from unetr.core.machine.offline import block_telemetry

block_telemetry()

import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402

__all__ = ["op", "ov"]
