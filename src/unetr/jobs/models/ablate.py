"""What the transformer contributes: the Dice of a trained network with its blocks bypassed."""

from __future__ import annotations

from pathlib import Path

from unetr.core.observer import Observer, staged
from unetr.errors import InputError
from unetr.infer.engines.torch import choose_device
from unetr.model.file.model_file import read_model
from unetr.prepare.cache import Cache, case_key
from unetr.train.bypass import BYPASSES, bypassed
from unetr.train.run.folder import Run
from unetr.train.run.settings import read_settings
from unetr.train.validate import Validation, validate


def ablate(path: Path, observer: Observer) -> dict[str, Validation]:
    """Dice of a run's validation cases with each of BYPASSES. path: the run's folder, or a model file in it.

    On the run's prepared cases, by the same sliding window as in training. Raises InputError for what is no run or has
    no validation cases.
    """
    run = Run(path if path.is_dir() else path.parent)
    settings = read_settings(run)
    model = read_model(run.model if path.is_dir() else path)
    if not settings.validation_cases:
        raise InputError(f"{run.folder}: was trained on all cases; expected a run with a fold that validates")
    known = {} if settings.data is None else settings.data.cases
    keys = {case: case_key(known[case], model.plan) for case in settings.validation_cases if case in known}
    cache = Cache(run.cache, settings.validation_cases, keys)
    device = choose_device("auto")
    found, told = {}, staged(observer, "scoring")
    for done, what in enumerate(BYPASSES, start=1):
        network = bypassed(model, what).to(device)
        found[what] = validate(network, cache, settings.validation_cases, model.plan, 0)
        told(done, len(BYPASSES))
    return found
