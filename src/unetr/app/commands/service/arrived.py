"""unetr node --arrived: which series came, and what became of each. Works beside a node that runs."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from unetr.app.printing import print_table, write_line
from unetr.errors import InputError

_SHORT = 8


def show_arrived(place: Path) -> None:
    """Lists the series of the node in this folder, the newest last. Raises InputError where there is no node."""
    from unetr.node.receive.table import ArrivingTable
    from unetr.queue.folder import QueueFolder
    from unetr.queue.store import JobStore

    folder = QueueFolder(place)
    if not folder.database.is_file():
        raise InputError(f"{place}: no node has kept anything here; expected the folder of a node")
    with closing(JobStore(folder.database)) as store:
        found = ArrivingTable(store).all()
    if not found:
        write_line("no series: nothing has come, or it was removed after its time")
        return
    rows = [
        (
            time.strftime("%Y-%m-%d %H:%M", time.localtime(row.first_s)),
            row.series[:_SHORT],
            row.source,
            row.state,
            str(row.files),
            ", ".join(row.jobs.values()) or row.said or "-",
        )
        for row in found
    ]
    print_table("series", ("came", "series", "from", "state", "files", "jobs, or why none"), rows)
