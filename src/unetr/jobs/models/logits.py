"""What a model makes of one window that is the same wherever it is asked for. Imports what predicting imports."""

from __future__ import annotations

import numpy as np

from unetr.infer.engines import choose_engine, make_engine
from unetr.infer.sweep.windows import Float
from unetr.model.open_model import Opened


def seeded_logits(opened: Opened, engine: str) -> Float:
    """Logits [J, H, W, D] in fp32 of one window of normal noise. Raises InputError, MachineError."""
    plan = opened.plan
    window = np.random.default_rng(0).normal(size=(1, plan.in_channels, *plan.window)).astype(np.float32)
    logits: Float = make_engine(opened, choose_engine(opened, engine, "cpu", "fp32"))(window)[0]
    return logits
