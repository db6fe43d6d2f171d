"""Whom a job tells what happens, and whom it asks whether to stop: a screen, a notebook, a server, or nobody."""

from __future__ import annotations

from collections.abc import Callable

from unetr.errors import StoppedError


class Observer:
    """Base of all observers: hears everything, does nothing, never stops the work.

    A subclass overrides what it cares about. Methods are called in the thread that runs the job unless they say
    otherwise, and are quick: the job waits for them.
    """

    def on_note(self, text: str) -> None:
        """A line for people, about something that is neither a result nor an error."""

    def on_stage(self, name: str, done: int, of: int | None) -> None:
        """Part of a stage is done. name: such as "measuring". of: None where the end is not known."""

    def should_stop(self) -> bool:
        """Asked between two pieces of work; True ends the job with StoppedError, and what is finished stays."""
        return False


def stop_if_asked(observer: Observer, doing: str) -> None:
    """Raises StoppedError where the observer asks for it. doing: for people, such as "measuring, 3 of 20 cases"."""
    if observer.should_stop():
        raise StoppedError(f"stopped while {doing}; start it again to go on")


def staged(observer: Observer, name: str) -> Callable[[int, int], None]:
    """What a function that goes over cases calls with (done, of): tells of the stage, and stops where it is asked to.

    name: of the stage, such as "measuring". The call raises StoppedError.
    """

    def tell(done: int, of: int) -> None:
        stop_if_asked(observer, f"{name}, after {done} of {of} cases")
        observer.on_stage(name, done, of)

    return tell
