"""A child of the queue: `python -P -m unetr.queue.tasks` does one task after the other, until its input ends."""

from __future__ import annotations

import os
import signal
import traceback

from unetr.core.machine.child import own_stream
from unetr.core.machine.offline import keep_to_given_folders
from unetr.core.machine.system import lower_priority
from unetr.errors import MachineError, UnetrError, expected_error
from unetr.jobs.apart.job import told_error
from unetr.queue.tasks.registry import run_task
from unetr.queue.tasks.talk import Talk


def main() -> None:
    """Never returns: the end of the input ends the process."""
    keep_to_given_folders()
    lower_priority()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    heard = os.fdopen(os.dup(0), "rb")
    talk = Talk(heard, own_stream(1))
    while True:
        asked = talk.asked.get()
        talk.begin(asked["number"])
        try:
            done = {"answer": run_task(asked["task"], asked["request"], talk)}
        except Exception as error:  # noqa: BLE001  a defect in one task is told, and the next one is done
            done = {"error": told_error(expected_error(error) or _defect(error))}
        talk.end(**done)


def _defect(error: Exception) -> UnetrError:
    """What is told of a defect: where it is, without its own words, which may name patients."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].name}, line {frames[-1].lineno}" if frames else "nowhere"
    return MachineError(f"a defect of unetr: {type(error).__name__} in {where}; please report it")


if __name__ == "__main__":
    main()
