"""unetr mcp: tools for language models, over standard input and output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from unetr.app.streams import own_out
from unetr.errors import InputError


def mcp(
    allow: Annotated[list[Path], typer.Option("--allow", help="A folder that may be read; give one or several.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The folder for results. Without it nothing is written.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model that may be used: a file, a run or a name. Default: those of the box."),
    ] = None,
) -> None:
    """Give a language model's program tools for scans.

    They list models, describe a scan, segment it, and tell its volumes and verdict. The program starts this command
    and speaks the Model Context Protocol with it over standard input and output; no connection is opened. Only the
    folders that are named can be read, and only OUT is written to.

    Example: unetr mcp --allow scans --out results
    """
    from unetr.mcp.folders import open_folders
    from unetr.mcp.server import serve
    from unetr.mcp.tools import Tools, offered

    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input is a terminal; expected a language model's program, which starts this command")
    tools = Tools(open_folders(allow, out), offered(model or []))
    serve(tools, sys.stdin.buffer, own_out().buffer)
