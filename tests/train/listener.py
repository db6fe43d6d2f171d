"""An observer of a training that is made of functions, for tests that care about one thing that it hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unetr.train.observer import TrainingObserver


class Listener(TrainingObserver):
    """Calls the functions that it was given by the names of an observer's methods; does nothing else."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            assert hasattr(TrainingObserver, name), name
            setattr(self, name, function)
