"""A job in a process of its own: what it takes of memory is its own, and where it fails it takes nothing with it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Generic

from unetr.core.files.atomic import machine_error
from unetr.core.machine.child import Ended, python_module, run_child
from unetr.core.machine.system import BINARY
from unetr.core.observer import Observer
from unetr.errors import MachineError, UnetrError
from unetr.jobs.apart.job import Job, RequestT, ResultT, is_answered, read_answer, write_request

MODULE = "unetr.jobs.apart"


@dataclass(frozen=True, slots=True)
class Done(Generic[ResultT]):
    """peak_mb: the most memory that the process held, in 10^6 bytes; None where the system does not tell."""

    result: ResultT
    peak_mb: float | None


def run_apart(
    job: Job[RequestT, ResultT], request: RequestT, observer: Observer, *, log: Path | None = None
) -> Done[ResultT]:
    """Runs the job in a fresh process and waits for it. log: gets what the job says on the way.

    Raises the error that the job ended with; MachineError where it ended without a word, as on a crash or where the
    system ran out of memory; StoppedError where the observer asks to stop, once the job has stopped as well.
    """
    found = attempt_apart(job, request, observer, log=log)
    if isinstance(found, UnetrError):
        raise found
    return found


def attempt_apart(
    job: Job[RequestT, ResultT], request: RequestT, observer: Observer, *, log: Path | None = None
) -> Done[ResultT] | UnetrError:
    """`run_apart`, with the job's error returned. What is raised is of this process: it is asked to stop, say."""
    with tempfile.TemporaryDirectory(prefix="unetr-") as name:
        folder = Path(name)
        write_request(folder, job, request)
        said = log or folder / "said"
        with _private(said) as handle:
            ended = run_child(python_module(MODULE, folder), handle, observer.should_stop)
        if not is_answered(folder):
            return MachineError(_crash(job.name, ended, said))
        try:
            return Done(read_answer(folder, job), ended.peak_mb)
        except UnetrError as error:
            return error


def _private(path: Path) -> IO[bytes]:
    """A new file that only this user may read: what a job says may name patients. Raises MachineError."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | BINARY, 0o600), "wb")
    except OSError as error:
        raise machine_error(path, error) from error


def _crash(name: str, ended: Ended, said: Path) -> str:
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"the process for the job {name} ended with {ended.code}: {lines[-1] if lines else 'no message'}"
