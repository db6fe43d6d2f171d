"""3D medical image segmentation with UNETR. Importing this package imports neither torch nor any reader."""

# First, and before any import that a file in the current folder could stand in for, `__future__` too.
from unetr.core.machine.offline import block_telemetry, leave_current_folder, load_from_elsewhere

leave_current_folder()
block_telemetry()
load_from_elsewhere()

from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from unetr.core.observer import Observer
    from unetr.core.space.volume import Volume
    from unetr.infer.load import load
    from unetr.infer.options import PredictOptions
    from unetr.infer.predict import Prediction, Segmenter
    from unetr.io import read_volume, write_volume
    from unetr.jobs.evaluate import evaluate
    from unetr.jobs.predict.job import predict
    from unetr.jobs.predict.observer import PredictObserver
    from unetr.jobs.predict.request import PredictOutcome, PredictRequest

__version__ = "0.1.0"
__all__ = [
    "Observer",
    "PredictObserver",
    "PredictOptions",
    "PredictOutcome",
    "PredictRequest",
    "Prediction",
    "Segmenter",
    "Volume",
    "__version__",
    "evaluate",
    "load",
    "predict",
    "read_volume",
    "write_volume",
]

# A name -> the module that has it, which is imported when the name is first used.
_LAZY = {
    "Observer": "unetr.core.observer",
    "PredictObserver": "unetr.jobs.predict.observer",
    "PredictOptions": "unetr.infer.options",
    "PredictOutcome": "unetr.jobs.predict.request",
    "PredictRequest": "unetr.jobs.predict.request",
    "Prediction": "unetr.infer.predict",
    "Segmenter": "unetr.infer.predict",
    "Volume": "unetr.core.space.volume",
    "evaluate": "unetr.jobs.evaluate",
    "load": "unetr.infer.load",
    "predict": "unetr.jobs.predict.job",
    "read_volume": "unetr.io",
    "write_volume": "unetr.io",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'unetr' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
