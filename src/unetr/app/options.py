"""Options that several commands share, and the way results go to the terminal or to machines."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr.app.launch import launched_rank
from unetr.app.streams import own_err, own_out, say_line, show_bar
from unetr.core.text.printable import printable, printable_json
from unetr.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress, Task
    from rich.text import Text

    from unetr.core.space.frames import Transform
    from unetr.prepare.datasets.dataset import Dataset

DatasetPath = Annotated[
    Path,
    typer.Argument(
        help="A dataset: Decathlon, nnU-Net or BTCV folder, a folder with images/ and labels/, or a CSV of paths.",
        show_default=False,
    ),
]
ModelPath = Annotated[Path, typer.Argument(help="A model file (.safetensors).", show_default=False)]
Sharded = Annotated[bool, typer.Option("--sharded", help="Under torchrun: spread weights over the processes (FSDP).")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that unetr did not write, or that were edited since.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Engine = Annotated[str, typer.Option(help="What runs the network: auto, openvino, torch or onnx.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16; auto is bf16 where the device has it in hardware.")]

TransformName = Annotated[
    str | None,
    typer.Option("--transform", help="sform or qform: which affine of a NIfTI counts where the two disagree."),
]

DEFAULT_MINUTES = 60.0

# A table that goes to a file or a pipe has no terminal to fit into.
_PIPED_WIDTH = 140


def finite(parameter: typer.CallbackParam, value: float | None) -> float | None:
    """Callback of options whose bounds alone would let NaN and infinity through. Raises InputError."""
    if value is not None and not math.isfinite(value):
        raise InputError(
            f"--{str(parameter.name).replace('_', '-')} {value}: is not a number; expected one such as 1.5"
        )
    return value


def transform_named(name: str | None) -> Transform | None:
    """What --transform says. Raises InputError."""
    known: dict[str | None, Transform | None] = {None: None, "sform": "sform", "qform": "qform"}
    if name in known:
        return known[name]
    raise InputError(f"--transform {name}: is unknown; expected sform or qform")


def training_minutes(minutes: float | None, steps: int | None) -> float | None:
    """The budget in minutes: 60 where neither it nor steps are given. Raises InputError where both are."""
    if minutes is not None and steps is not None:
        raise InputError("--minutes and --steps: are both given; expected one of them")
    return DEFAULT_MINUTES if minutes is None and steps is None else minutes


def write_out(text: str) -> None:
    """Text as it is on standard output; nowhere when its reader went away, as `head` does: the command goes on."""
    out = own_out()
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def write_line(text: str) -> None:
    """A line for people on standard output; names of files and labels in it are made safe to show."""
    write_out(f"{printable(text)}\n")


def print_json(data: Any) -> None:
    """One JSON document on standard output; JSON has no NaN, so undefined numbers are null."""
    text = json.dumps(defined(data), indent=1, ensure_ascii=False, allow_nan=False)
    write_out(printable_json(text) + "\n")


def defined(data: Any) -> Any:
    """The same data with null for numbers that are not finite."""
    if isinstance(data, dict):
        return {key: defined(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [defined(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for people; columns of numbers are aligned right. As wide as the terminal, or as its contents.

    Nothing in it is markup, and everything is made safe to show.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    table = Table(title=Text(printable(title)), title_justify="left", box=SIMPLE_HEAD)
    for index, column in enumerate(header):
        numbers = index > 0 and all(_is_number(row[index]) for row in cells)
        table.add_column(Text(printable(column)), justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(file=own_out(), width=None if own_out().isatty() else _PIPED_WIDTH)
    with console.capture() as capture:
        console.print(table)
    # Without the blanks that fill up the lines.
    write_out("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def _is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell.startswith("-")


def number(value: float, digits: int) -> str:
    """A table's cell: so many digits after the point, "-" for what is undefined."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 case, 2 cases."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def say(text: str) -> None:
    """A line for people, on standard error, so that standard output stays clean for results. Made safe to show."""
    say_line(printable(text))


def opened_dataset(path: Path) -> Dataset:
    """The dataset at a path; says what of its description is not obeyed, or read in another way. Raises InputError."""
    from unetr.prepare.datasets.cases import open_dataset

    dataset = open_dataset(path)
    for note in dataset.notes if launched_rank() == 0 else ():
        say(f"unetr: {dataset.root}: {note.message}")
    return dataset


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
