"""The boundary to untrusted bytes: whatever goes wrong while a file is read is that file's fault, said in one line.

Libraries and the interpreter raise what they like for bytes that nobody thought of: RecursionError, struct.error,
OverflowError, UnicodeError, KeyError. Within this boundary all of it is an InputError that names the file, so that one
file never ends a batch with a traceback. The original is kept as the cause, which `unetr --debug` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from pydantic import ValidationError

from unetr.core.text.records import first_problem
from unetr.errors import InputError, UnetrError

_P = ParamSpec("_P")
_R = TypeVar("_R")


class UnforeseenError(InputError):
    """A file that was refused because reading it raised what nobody thought of; the cause says what."""


@contextmanager
def untrusted(path: Path, expected: str) -> Iterator[None]:
    """Turns every exception within, but those of this package and of a missing module, into an InputError.

    path: the file or folder whose bytes are handled. expected: what it should be, such as "a scan".
    """
    try:
        yield
    except (UnetrError, ImportError):
        raise
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error)}") from error
    except MemoryError as error:
        raise InputError(
            f"{path}: does not fit in memory; expected {expected} that does; free some memory or use a larger machine"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}; expected {expected}") from error
    except Exception as error:
        # Not what the exception says: it may repeat bytes of the file, and so a person's name.
        raise UnforeseenError(
            f"{path}: is damaged or not {expected} ({type(error).__name__}); get it again, or see the cause",
            hint="debug",
        ) from error


def reads_untrusted(
    expected: str,
) -> Callable[[Callable[Concatenate[Path, _P], _R]], Callable[Concatenate[Path | str, _P], _R]]:
    """Puts a whole function, whose first parameter is the path that it reads, within the boundary.

    The path may then be given as a str too.
    """

    def wrap(read: Callable[Concatenate[Path, _P], _R]) -> Callable[Concatenate[Path | str, _P], _R]:
        @wraps(read)
        def guarded(given: Path | str, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            path = Path(given)
            with untrusted(path, expected):
                return read(path, *args, **kwargs)

        return guarded

    return wrap
