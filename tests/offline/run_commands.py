"""Runs commands of unetr one after the other in this process: `run_commands.py COMMANDS.json CODES.json`.

A name that no folder has is looked up before each, so that a trace of system calls shows where one begins.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np

MARK = "/watched-command/"


def small_template() -> None:
    """`unetr demo` on a piece of the brain: the whole takes minutes and writes the same files."""
    from unetr.core.machine.offline import keep_to_given_folders
    from unetr.jobs.demo import brain_template

    keep_to_given_folders()  # as the command does, before anything is read
    whole = brain_template.read_template()
    box = (slice(60, 108), slice(60, 172), slice(70, 110))
    shift = np.eye(4)
    shift[:3, 3] = [part.start for part in box]
    piece = tuple(v.with_data(v.data[:, *box], affine=v.affine @ shift) for v in whole)
    brain_template.read_template = lambda: piece  # type: ignore[assignment,return-value]


def talk_to_tools(results: Path) -> None:
    """Makes standard input what a language model's program would write, and ends it once the result is there."""
    named = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    asked = {"name": "segment", "arguments": {"scan": "scan.nii.gz", "model": "hippocampus", "name": "asked"}}
    told = [("initialize", 1, named), ("notifications/initialized", None, None), ("tools/call", 2, asked)]
    reads, writes = os.pipe()
    sys.stdin = os.fdopen(reads, encoding="utf-8")

    def say() -> None:
        with os.fdopen(writes, "w", encoding="utf-8") as pipe:
            for method, number, parameters in told:
                request = {"jsonrpc": "2.0", "method": method, "id": number, "params": parameters}
                print(json.dumps({key: value for key, value in request.items() if value is not None}), file=pipe)
            pipe.flush()
            end = time.monotonic() + 60
            while not (results / "asked.nii.gz").exists() and time.monotonic() < end:
                time.sleep(0.05)

    threading.Thread(target=say).start()


def end_once_it_answers() -> None:
    """The server is told to end as soon as it listens. It may do so at the loopback."""
    import uvicorn

    started = uvicorn.Server.startup

    async def startup(self: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        await started(self, sockets)
        signal.raise_signal(signal.SIGTERM)

    uvicorn.Server.startup = startup  # type: ignore[method-assign]
    os.environ["WATCH_LOOPBACK"] = "1"


def run(arguments: list[str]) -> int:
    from unetr.app.cli import main

    if arguments[0] == "python":  # for the tests of the watch itself
        try:
            exec(arguments[1], {})
        except OSError as error:
            print(error)
        return 0
    sys.argv = ["unetr", *arguments]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        logging.disable(logging.NOTSET)
    return 0


if __name__ == "__main__":
    listed, report = sys.argv[1:]
    codes = {}
    for name, arguments in json.loads(Path(listed).read_text()).items():
        os.path.exists(MARK + name)  # noqa: PTH110  # a look-up and nothing else
        log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND)
        os.write(log, f"command {name!r}\n".encode())
        os.close(log)
        if arguments[0] == "demo":
            small_template()
        if arguments[0] == "mcp":
            talk_to_tools(Path(arguments[arguments.index("--out") + 1]))
        if arguments[0] == "serve":
            end_once_it_answers()
        code = run(arguments)
        if arguments[0] == "serve":
            del os.environ["WATCH_LOOPBACK"]
            code -= 128 + signal.SIGTERM
        codes[name] = code
        Path(report).write_text(json.dumps(codes))
