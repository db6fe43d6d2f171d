"""The progress of the commands: bars on a terminal, a line now and then in a log; and what a job tells meanwhile."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from unetr.app.printing import say
from unetr.app.streams import own_err, show_bar
from unetr.core.observer import Observer
from unetr.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, Task, TaskID
    from rich.text import Text


# What is not a terminal gets a line of progress after so long: an hour of training leaves 60 of them in a log.
LINE_EVERY_S = 60.0


def progress(*, shown: bool = True) -> AbstractContextManager[Progress]:
    """Progress on standard error: bars on a terminal, else a line each minute; nothing where it shall not be shown."""
    from rich.console import Console

    console = Console(file=own_err())
    bar: Progress = _bar_with_log(lines=shown)(
        *_columns(console.width),
        console=console,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not (shown and own_err().isatty()),
    )
    return bar


def _columns(width: int) -> list[ProgressColumn]:
    """For a screen of this width: the note takes what the others leave, and is cut where that is little."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Plain(TextColumn):
        """A text of a task as it is: no markup, and safe to show."""

        def render(self, task: Task) -> Text:
            return Text(printable(self.text_format.format(task=task)))

    def whole() -> Column:
        return Column(no_wrap=True)

    return [
        Plain("{task.description}", table_column=whole()),
        BarColumn(bar_width=min(40, width // 8), table_column=whole()),
        MofNCompleteColumn(table_column=whole()),
        TimeElapsedColumn(table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
        Plain("left", table_column=whole()),
        Plain("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    ]


def _bar_with_log(*, lines: bool) -> type[Progress]:
    """The class is made here, since rich is imported only where progress is shown. lines: in place of hidden bars."""
    from rich.progress import Progress

    class Bar(Progress):
        """A progress bar above which lines are said while it is shown."""

        told_s = 0.0

        def start(self) -> None:
            super().start()
            self.told_s = time.monotonic()
            show_bar(None if self.disable else self.console)

        def update(self, task_id: TaskID, *args: Any, **fields: Any) -> None:
            super().update(task_id, *args, **fields)
            self.tell(task_id)

        def advance(self, task_id: TaskID, advance: float = 1) -> None:
            super().advance(task_id, advance)
            self.tell(task_id)

        def tell(self, task_id: TaskID) -> None:
            """The line of a log."""
            now = time.monotonic()
            if lines and self.disable and now >= self.told_s + LINE_EVERY_S:
                self.told_s = now
                say(_line(self._tasks[task_id]))

        def stop(self) -> None:
            show_bar(None)
            super().stop()

    return Bar


def _line(task: Task) -> str:
    of = "" if task.total is None else f" of {task.total:.0f}"
    note = task.fields.get("note")
    return f"{task.description} {task.completed:.0f}{of}{f': {note}' if note else ''}"


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
