"""What a fresh process makes of an exported model: `python -m unetr.app.export_check ARTEFACT ENGINE LOGITS.npy`.

Runs one seeded window in fp32 and writes its logits, for `unetr export` to compare. Imports what predicting imports.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from unetr.app.streams import only_own_words
from unetr.errors import UnetrError
from unetr.infer.engines import choose_engine, make_engine
from unetr.infer.sweep.windows import Float
from unetr.model.open_model import Opened, open_model


def seeded_logits(opened: Opened, engine: str) -> Float:
    """Logits [J, H, W, D] in fp32 of one window of normal noise. Raises InputError, MachineError."""
    plan = opened.plan
    window = np.random.default_rng(0).normal(size=(1, plan.in_channels, *plan.window)).astype(np.float32)
    logits: Float = make_engine(opened, choose_engine(opened, engine, "cpu", "fp32"))(window)[0]
    return logits


def main(artefact: str, engine: str, out: str) -> int:
    """Returns the exit code."""
    try:
        with only_own_words():
            np.save(Path(out), seeded_logits(open_model(Path(artefact)), engine))
    except UnetrError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
