"""unetr node: receives scans from scanners and PACS, predicts by rules, and delivers results, until it is ended."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.commands.service.arrived import show_arrived
from unetr.app.commands.service.dead_letters import show_dead_letters
from unetr.app.printing import print_table, say, write_line
from unetr.core.version import __version__
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.node.run import Node
    from unetr.node.settings import NodeSettings

_FOREVER_S = 3600.0


def node(
    settings: Annotated[Path, typer.Argument(help="The node's settings (YAML).", show_default=False)],
    folder: Annotated[
        Path | None,
        typer.Option(help="Where scans and jobs are kept. Default: unetr-node, beside the settings."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether the settings can be used.")] = False,
    series: Annotated[
        Path | None,
        typer.Option("--series", help="With --check: a folder of DICOM; say which rules take its series."),
    ] = None,
    arrived: Annotated[bool, typer.Option("--arrived", help="Only list the series that came, and their jobs.")] = False,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Only list what could not be delivered and is not tried any more.")
    ] = False,
    retry: Annotated[
        str | None, typer.Option("--retry", help="Only have a dead letter tried again: its number, or all.")
    ] = None,
) -> None:
    """Put models behind a scanner or a PACS.

    Receives scans, predicts on those that a rule takes, and delivers the results.

    SETTINGS is one YAML file: what listens or is pulled, rules, and where results go. Nothing but this machine is
    listened to unless the file says so, and nothing is sent but to the destinations that it names. What was
    acknowledged is kept over a crash.

    Example: unetr node node.yaml --check --series scans/patient1
    """
    from unetr.node.settings import read_settings

    told = read_settings(settings)
    if series is not None and not check:
        raise InputError("--series: is only for --check; a node receives or pulls its series")
    if check:
        _check(told, series)
        return
    place = (folder or settings.parent / "unetr-node").absolute()
    if arrived:
        show_arrived(place)
        return
    if dead_letters or retry is not None:
        show_dead_letters(place, retry)
        return
    from unetr.node.run import Node

    with Node(told, place, _line) as running:
        _tell(running, told, place)
        while True:
            threading.Event().wait(_FOREVER_S)


def _line(text: str) -> None:
    say(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}")


def _tell(running: Node, told: NodeSettings, place: Path) -> None:
    rules = ", ".join(rule.name for rule in told.rules)
    say(f"unetr {__version__} node; rules: {rules}; scans and jobs are kept in {place}; Ctrl-C ends it")
    if running.receiver is not None and told.listen is not None:
        host, port = running.receiver.address
        write_line(f"dicom://{told.listen.title}@{host}:{port}")
    for pull in told.pull:
        say(f"asks {pull.name} every {pull.every_s:g} s")


def _check(told: NodeSettings, series: Path | None) -> None:
    from unetr.node.check import check_series

    if series is None:
        write_line(f"the settings can be used; rules: {', '.join(rule.name for rule in told.rules)}")
        return
    rows = [
        (one.series, one.rule, one.channel or "-", "takes it" if one.why is None else one.why)
        for one in check_series(told.rules, series)
    ]
    print_table(f"{series}: what the rules make of it", ("series", "rule", "channel", "answer"), rows)
