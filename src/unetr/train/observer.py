"""Whom a training tells what happens: of each step, each validation, and of weights taken from another model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unetr.core.observer import Observer

if TYPE_CHECKING:
    from unetr.train.optimise.transfer import Transfer
    from unetr.train.validate import Validation


@dataclass(frozen=True, slots=True)
class TrainedStep:
    """One finished step. wait_seconds: the part of `seconds` in which the loop waited for data.

    steps: all steps of the training, None while a budget in minutes has not been turned into a number yet.
    dice_loss, cross_entropy: NaN in a pretraining, whose loss has no such terms.
    """

    step: int
    steps: int | None
    loss: float
    dice_loss: float
    cross_entropy: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    wait_seconds: float


class TrainingObserver(Observer):
    """An observer of a training. Its stages count cases: checking, measuring, preparing, validating, gathering.

    `should_stop` is asked after every step and every case; the state is saved before StoppedError is raised. Of several
    processes that train together, only the leader's observer is told; any of them may stop all.
    """

    def on_fold(self, fold: int, folds: int) -> None:
        """Of a training of every fold: this one, from 0, is begun or gone on with."""

    def on_step(self, done: TrainedStep) -> None:
        """An optimiser step is finished."""

    def on_validation(self, found: Validation) -> None:
        """The network was validated on whole volumes."""

    def on_transfer(self, transfer: Transfer) -> None:
        """The training starts from another model's weights: which of them fit."""


class Follower(TrainingObserver):
    """For a process that does not lead: hears nothing, since the leader tells it, and stops where another would."""

    def __init__(self, observer: TrainingObserver) -> None:
        self._observer = observer

    def should_stop(self) -> bool:  # noqa: D102
        return self._observer.should_stop()
