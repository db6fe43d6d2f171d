"""unetr node --dead-letters and --retry: what could not be delivered. Works beside a node that runs."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.app.printing import print_table, write_line
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.node.delivery.letters import Letter, Letters

_ALL = "all"


def show_dead_letters(place: Path, retry: str | None) -> None:
    """Lists the dead letters of the node in this folder; those that `retry` names, a number or "all", wait again.

    Raises InputError where there is no node, or no such letter.
    """
    from unetr.node.delivery.letters import Letters
    from unetr.queue.folder import QueueFolder
    from unetr.queue.store import JobStore

    folder = QueueFolder(place)
    if not folder.database.is_file():
        raise InputError(f"{place}: no node has kept anything here; expected the folder of a node")
    with closing(JobStore(folder.database)) as store:
        letters = Letters(store)
        if retry is None:
            _list(letters.dead())
        else:
            _retry(letters, retry)


def _list(dead: list[Letter]) -> None:
    if not dead:
        write_line("no dead letters: what is not delivered is still tried")
        return
    rows = [
        (str(each.number), each.job, each.form, each.destination, _moment(each.since_s), each.error or "-")
        for each in dead
    ]
    print_table("dead letters", ("number", "job", "form", "destination", "since", "why"), rows)


def _retry(letters: Letters, which: str) -> None:
    dead = {each.number for each in letters.dead()}
    if which != _ALL and not which.isdecimal():
        raise InputError(f"--retry {which}: expected the number of a dead letter, or {_ALL}")
    chosen = sorted(dead) if which == _ALL else [int(which)]
    missing = [number for number in chosen if number not in dead]
    if missing:
        raise InputError(f"--retry {which}: there is no such dead letter; --dead-letters lists them")
    count = letters.retry(chosen)
    write_line(f"{count} of {len(dead)} dead letters wait to be sent; the node sends them while it runs")


def _moment(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s))
