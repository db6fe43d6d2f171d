"""The progress bar of the commands, and what a job tells while it runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from unetr.app.printing import say
from unetr.app.streams import own_err, show_bar
from unetr.core.observer import Observer
from unetr.core.text.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID
    from rich.text import Text


def progress(*, shown: bool = True) -> AbstractContextManager[Progress]:
    """A progress bar on standard error; silent when that is not a terminal, or where it shall not be shown."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Plain(TextColumn):
        """A text of a task as it is: no markup, and safe to show."""

        def render(self, task: Task) -> Text:
            return Text(printable(self.text_format.format(task=task)))

    class Bar(Progress):
        """A progress bar above which lines are said while it is shown."""

        def start(self) -> None:
            super().start()
            show_bar(None if self.disable else self.console)

        def stop(self) -> None:
            show_bar(None)
            super().stop()

    return Bar(
        Plain("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        Plain("{task.fields[note]}"),
        console=Console(file=own_err()),
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not (shown and own_err().isatty()),
    )


class OnScreen(Observer):
    """What a job tells: its notes as lines, and its stages on a progress bar where there is one."""

    def __init__(self, bar: Progress | None = None) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def on_note(self, text: str) -> None:
        """Said above the bar."""
        say(text)

    def on_stage(self, name: str, done: int, of: int | None) -> None:
        """A line of the bar for each stage."""
        if self._bar is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=None, note="")
        self._bar.update(self._tasks[name], completed=done, total=of)
