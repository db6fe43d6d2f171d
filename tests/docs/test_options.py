"""The pages of the commands that serve others name every option and every key of the settings, with its default."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest
import typer
from pydantic.fields import FieldInfo

from unetr.app.cli import app
from unetr.core.text.records import Record
from unetr.node.settings import NodeSettings

HOWTO = Path(__file__).parents[2] / "docs" / "howto"


def rows(page: str) -> dict[str, str]:
    """Each name in the first column of a table -> the rest of its rows."""
    found: dict[str, str] = {}
    for line in (HOWTO / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            first, rest = line.removeprefix("| ").split(" | ", 1)
            for name in re.findall(r"`([^`]+)`", first):
                word = name.split(" ")[0].rstrip(":")
                found[word] = found.get(word, "") + rest
    return found


@pytest.mark.parametrize("command", ["serve", "mcp"])
def test_every_option_is_in_the_page_with_its_default(command: str) -> None:
    told = rows(f"{command}.md")
    for option in typer.main.get_command(app).commands[command].params:  # type: ignore[attr-defined]
        if option.name == "help":
            continue
        name = max(option.opts, key=len)
        assert name in told, name
        if option.default not in (None, False) and not option.required:
            default = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
            assert default in told[name], name


def test_every_option_of_a_node_is_in_its_page() -> None:
    page = (HOWTO / "node.md").read_text(encoding="utf-8")
    for option in typer.main.get_command(app).commands["node"].params:  # type: ignore[attr-defined]
        if option.name not in ("help", "settings"):
            assert re.search(rf"{max(option.opts, key=len)}\b", page), option.opts


def test_every_key_of_a_nodes_settings_is_in_its_page_with_its_default() -> None:
    page = (HOWTO / "node.md").read_text(encoding="utf-8")
    seen: set[type[Record]] = set()
    waiting: list[type[Record]] = [NodeSettings]
    while waiting:
        record = waiting.pop()
        seen.add(record)
        for name, field in record.model_fields.items():
            assert re.search(rf"`{name}`|\b{name}: ", page), f"{record.__name__}.{name}"
            assert _is_told(field.default, page, name), f"{record.__name__}.{name}"
            waiting += [each for each in _records_in(field) if each not in seen]
    assert len(seen) > 8


def _records_in(field: FieldInfo) -> list[type[Record]]:
    found, waiting = [], [field.annotation]
    while waiting:
        kind = waiting.pop()
        waiting += typing.get_args(kind)
        if isinstance(kind, type) and issubclass(kind, Record):
            found.append(kind)
    return found


def _is_told(default: object, page: str, name: str) -> bool:
    """Numbers stand in a line that names their key."""
    if isinstance(default, bool) or not isinstance(default, int | float):
        return True
    lines = [line for line in page.splitlines() if f"`{name}`" in line]
    return any(re.search(rf"(?<!\d){default:g}(?!\d)", line) for line in lines)
