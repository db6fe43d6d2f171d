"""The errors that a person can cause or meet, and the exit code that each one ends the command with.

Everything else that is raised is a defect of this package and shows its traceback.
"""

from __future__ import annotations

from typing import ClassVar

from unetr.core.text.printable import printable

# A name from a file may be megabytes long; a message is for people.
_LONGEST = 4000


class UnetrError(Exception):
    """Base of all expected errors. The message is one line: what was found, what was expected, what to do.

    It speaks to callers from Python and from the command line alike, so it names no command-line option. hint: the
    argument of a function that would change the outcome, such as "strict"; the command line tells its option for it.
    What a terminal would not show as it is (controls, bidi marks) is escaped; see `unetr.core.text.printable`.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(printable(" ".join(message.split()), _LONGEST))
        self.hint = hint


class InputError(UnetrError):
    """A file, folder, plan or option that cannot be used as it is. Exit code 2."""

    exit_code = 2


class BatchError(UnetrError):
    """Part of a batch failed and the rest is finished; the report names each failure. Exit code 3."""

    exit_code = 3


class MachineError(UnetrError):
    """The machine refused: disk full, read-only folder, no memory, an optional dependency is missing. Exit code 4."""

    exit_code = 4


class StoppedError(UnetrError):
    """Stopped by SIGTERM. Exit code 143."""

    exit_code = 143


class CancelledError(UnetrError):
    """Stopped by Ctrl-C. Exit code 130."""

    exit_code = 130
