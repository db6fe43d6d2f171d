"""The layout of a queue's database: a file of another one is refused in words, and stays as it is."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from unetr.errors import InputError
from unetr.queue.store import JobStore
from unetr.queue.tables.database import LAYOUT

# Where this fails, LAYOUT is to be raised by one, and the new digest to be put here.
DIGESTS = {1: "0563c30c3652b023"}


def layout_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql > '' ORDER BY name")]


def test_another_layout_has_another_number(tmp_path: Path) -> None:
    pytest.importorskip("pynetdicom", reason="a node's tables are in the same file")
    from unetr.node.delivery.letters import Letters
    from unetr.node.pull.seen import Seen
    from unetr.node.receive.table import ArrivingTable

    with closing(JobStore(tmp_path / "jobs.sqlite3")) as store:
        Letters(store)
        Seen(store, "pacs")
        ArrivingTable(store)
    found = layout_of(tmp_path / "jobs.sqlite3")
    assert len(found) == 9
    assert hashlib.sha256("\n".join(found).encode()).hexdigest()[:16] == DIGESTS[LAYOUT]


@pytest.mark.parametrize(("number", "age"), [(0, "an older"), (LAYOUT + 1, "a newer")])
def test_a_file_of_another_layout_is_refused_and_kept(tmp_path: Path, number: int, age: str) -> None:
    path = tmp_path / "jobs.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE arriving (series TEXT PRIMARY KEY)")
        connection.execute(f"PRAGMA user_version = {number}")
        connection.commit()
    with pytest.raises(InputError, match=f"{age} version of unetr") as told:
        JobStore(path)
    assert "another folder" in str(told.value)
    assert layout_of(path) == ["CREATE TABLE arriving (series TEXT PRIMARY KEY)"]


def test_what_is_committed_outlasts_a_power_cut(tmp_path: Path) -> None:
    """SQLite's own words: in WAL mode, a commit is flushed before it returns with FULL (2), and not with NORMAL (1)."""
    with closing(JobStore(tmp_path / "jobs.sqlite3")) as store, store.changing() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_what_is_opened_again_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    for _ in range(2):
        JobStore(path).close()
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone()[0] == LAYOUT
