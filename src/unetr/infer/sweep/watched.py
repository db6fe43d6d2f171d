"""An engine that tells how far a sweep is, and ends it when it is asked to."""

from __future__ import annotations

from unetr.core.observer import Observer, stop_if_asked
from unetr.infer.sweep.windows import Engine, Float


class WindowObserver(Observer):
    """Hears how far the segmentation of one scan is."""

    def on_windows(self, done: int, of: int) -> None:
        """So many windows of a scan are segmented. First called with done = 0, then after each window."""


def watched(engine: Engine, observer: WindowObserver, windows: int, scan: str) -> Engine:
    """The same engine, whose progress the observer hears. It raises StoppedError where the observer asks to stop.

    windows: of the whole sweep. scan: its name, for people.
    """
    done = 0
    observer.on_windows(0, windows)

    def run(batch: Float) -> Float:
        nonlocal done
        stop_if_asked(observer, f"segmenting {scan}, {done} of {windows} windows")
        logits = engine(batch)
        done += len(batch)
        observer.on_windows(done, windows)
        return logits

    return run
