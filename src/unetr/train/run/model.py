"""The model files of a run: its plan and fingerprint with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unetr.core.plan.schema import Plan
from unetr.model.file.model_file import ModelFile, write_model
from unetr.train.run.checkpoint import Weights
from unetr.train.run.folder import Run
from unetr.train.run.settings import read_fingerprint, read_settings


def save_model(run: Run, path: Path, plan: Plan, weights: Weights, metrics: dict[str, Any]) -> None:
    """Writes a model file with the run's plan and fingerprint. Raises MachineError."""
    licence = read_settings(run).licence
    write_model(path, ModelFile(plan, read_fingerprint(run), metrics, licence, weights))
