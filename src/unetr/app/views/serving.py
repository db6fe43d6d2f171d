"""What is seen while a server runs: its own lines, and nothing of its libraries'."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from unetr.app.printing import say

_NAME = "unetr"


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {record.getMessage()}")


@contextmanager
def lines_of_the_server() -> Iterator[None]:
    """While it lasts, what the package logs goes to standard error, a line each with its time."""
    logger, handler, before = logging.getLogger(_NAME), _Lines(), logging.root.manager.disable
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.disable(logging.NOTSET)
    try:
        yield
    finally:
        logging.disable(before)
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(handler)
