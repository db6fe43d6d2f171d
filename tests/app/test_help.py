"""The help of `unetr`: every command in a group, each with a whole sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import typer

from unetr.app import cli

Command = Callable[..., Any]


def test_every_command_is_in_a_group_with_a_whole_sentence(unetr: Command, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = unetr("--help")
    assert outcome.code == 0
    _, *parts = re.split(r"^(\w+):\n", outcome.out, flags=re.MULTILINE)
    groups = dict(zip(parts[::2], parts[1::2], strict=True))
    assert list(groups) == ["Options", "Start", "Data", "Training", "Scans", "Models", "Service"]
    listed = [line.split() for name in list(groups)[1:] for line in groups[name].strip().splitlines()]
    names = [name for name, *_ in listed]
    assert sorted(names) == sorted(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    assert all(words[-1].endswith(".") and not words[-1].endswith("...") for words in listed), listed
    assert {line.index(line.split()[1]) for name in list(groups)[1:] for line in groups[name].splitlines() if line} == {
        12
    }
