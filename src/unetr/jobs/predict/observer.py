"""Who hears how a prediction goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unetr.infer.sweep.watched import WindowObserver

if TYPE_CHECKING:
    from unetr.jobs.predict.report import CaseRecord
    from unetr.jobs.predict.request import PredictOutcome


class PredictObserver(WindowObserver):
    """Hears of the cases of a prediction, and of the windows of each, in the thread that runs it.

    `should_stop` is asked between two cases and between two windows. `on_stage` is told of "predicting", whose parts
    are the cases. A subclass overrides what it cares about.
    """

    def on_estimate(self, text: str) -> None:
        """The peak memory, engine and device to expect, before the first scan and before one that needs much more."""

    def on_case_started(self, case: str) -> None:
        """A case has been read and is about to be segmented."""

    def on_case_done(self, record: CaseRecord) -> None:
        """All files of a case are written, or proved to be there (state "skipped")."""

    def on_case_failed(self, record: CaseRecord) -> None:
        """A case of several cannot be predicted; the others go on. The error of a single scan is raised instead."""

    def on_finished(self, outcome: PredictOutcome) -> None:
        """All cases are through. The table of volumes is written after this, so that its failure hides nothing."""
