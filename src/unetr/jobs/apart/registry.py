"""The jobs that a process of its own can be asked for. A new one is a request, a function and a line in JOBS.

Each imports what it needs when it runs, so that a process has nothing else in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from unetr.core.observer import Observer
from unetr.jobs.apart.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitsRequest:
    """The logits of one seeded window by an exported model. out: the .npy file to write them to."""

    model: Path
    engine: str
    out: Path


def _logits(request: LogitsRequest, _observer: Observer) -> None:
    import numpy as np

    from unetr.jobs.models.logits import seeded_logits
    from unetr.model.open_model import open_model

    np.save(request.out, seeded_logits(open_model(request.model), request.engine))


LOGITS = Job("logits", LogitsRequest, TypeAdapter(type(None)), _logits)

JOBS: dict[str, Job[Any, Any]] = {job.name: job for job in (LOGITS,)}
