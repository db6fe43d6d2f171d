"""A run: one folder with everything about one training. Names its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SHARED_CACHE = "shared_cache"
CACHE = "cache"


@dataclass(frozen=True, slots=True)
class Run:
    """The files of a run."""

    folder: Path

    @property
    def plan(self) -> Path:
        """The plan that the run trains by."""
        return self.folder / "plan.yaml"

    @property
    def settings(self) -> Path:
        """What was asked for."""
        return self.folder / "settings.json"

    @property
    def fingerprint(self) -> Path:
        """Measured facts of the dataset."""
        return self.folder / "fingerprint.json"

    @property
    def cache(self) -> Path:
        """Prepared cases; the folds of a cross-validation share one, in the folder above, or two above for several."""
        return next((path for path in shared_caches(self.folder) if path.is_dir()), self.folder / CACHE)

    @property
    def checkpoints(self) -> Path:
        """The resumable training state."""
        return self.folder / "checkpoints"

    @property
    def log(self) -> Path:
        """One row per step: step, loss, dice_loss, cross_entropy, learning_rate, gradient_norm.

        A pretraining has no dice_loss and no cross_entropy.
        """
        return self.folder / "log.csv"

    @property
    def timing(self) -> Path:
        """One row per step: step, seconds, wait_seconds. Apart from the log, which is the same for equal runs."""
        return self.folder / "timing.csv"

    @property
    def validation_log(self) -> Path:
        """One row per validation: step, mean_dice, dice_<class>."""
        return self.folder / "validation.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard events."""
        return self.folder / "tensorboard"

    @property
    def best(self) -> Path:
        """Model file with the weights that did best in a validation during training."""
        return self.folder / "best.safetensors"

    @property
    def model(self) -> Path:
        """Model file with the final weights: the result."""
        return self.folder / "model.safetensors"

    @property
    def predictions(self) -> Path:
        """Label files predicted for the validation cases with the final weights, and their results."""
        return self.folder / "validation"


def shared_caches(folder: Path) -> tuple[Path, Path]:
    """Where a cache may lie that the run in `folder` shares with other runs, the widest first."""
    absolute = folder.absolute()
    return absolute.parent.parent / SHARED_CACHE, absolute.parent / SHARED_CACHE
