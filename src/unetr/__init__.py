"""3D medical image segmentation with UNETR. Importing this package imports neither torch nor any reader."""

# First, and before any import that a file in the current folder could stand in for, `__future__` too.
from unetr.core.machine.offline import block_telemetry, leave_current_folder, load_from_elsewhere

leave_current_folder()
block_telemetry()
load_from_elsewhere()

from typing import TYPE_CHECKING, Any  # noqa: E402

from unetr.core.version import __version__  # noqa: E402

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
    from unetr.jobs.progress import PrintProgress
    from unetr.jobs.training.request import PretrainingOutcome, TrainingOptions, TrainingOutcome
    from unetr.jobs.training.train_model import fit, pretrain
    from unetr.train.observer import TrainingObserver

__all__ = [
    "Observer",
    "PredictObserver",
    "PredictOptions",
    "PredictOutcome",
    "PredictRequest",
    "Prediction",
    "PretrainingOutcome",
    "PrintProgress",
    "Segmenter",
    "TrainingObserver",
    "TrainingOptions",
    "TrainingOutcome",
    "Volume",
    "__version__",
    "evaluate",
    "fit",
    "load",
    "predict",
    "pretrain",
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
    "PretrainingOutcome": "unetr.jobs.training.request",
    "PrintProgress": "unetr.jobs.progress",
    "Segmenter": "unetr.infer.predict",
    "TrainingObserver": "unetr.train.observer",
    "TrainingOptions": "unetr.jobs.training.request",
    "TrainingOutcome": "unetr.jobs.training.request",
    "Volume": "unetr.core.space.volume",
    "evaluate": "unetr.jobs.evaluate",
    "fit": "unetr.jobs.training.train_model",
    "load": "unetr.infer.load",
    "predict": "unetr.jobs.predict.job",
    "pretrain": "unetr.jobs.training.train_model",
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
