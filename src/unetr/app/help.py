"""The help of `unetr` itself: its commands in groups that one can hold in mind."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter


class GroupedHelp(TyperGroup):
    """Lists the commands under the names of their groups, in the order in which they were registered."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Names, in their order."""
        return list(self.commands)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Each group under its name; the first sentence of each command."""
        widest = max(map(len, self.commands))
        for group, of_group in groupby(self.commands.values(), key=_group):
            rows = [
                (f"{command.name:<{widest}}", command.get_short_help_str(formatter.width - 4 - widest))
                for command in of_group
            ]
            with formatter.section(group):
                formatter.write_dl(rows)


def _group(command: object) -> str:
    return str(command.rich_help_panel) if isinstance(command, TyperCommand) else "Commands"
