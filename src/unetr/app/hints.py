"""What a person on the command line can do about an error: the option for the hint that the error carries."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from unetr.errors import UnetrError

# UnetrError.hint -> what to do at the command line. One that names a command holds everywhere, the others where the
# running command has the option. {file}: the file that the message begins with.
HINTS = {
    "accept_shear": "give --accept-shear",
    "assume_affine": "give --assume-affine",
    "check": "see unetr check",
    "convert": "unetr convert does it",
    "debug": "unetr --debug shows it",
    "device": "give --device cpu",
    "engine": "choose another --engine",
    "fold": "give --fold all-data",
    "format": "give --format nifti",
    "memory_limit": "raise --memory-limit",
    "new_token": "unetr serve --new-token NAME makes one",
    "overwrite": "give --overwrite",
    "plan": "give --plan {file}",
    "port": "give another --port",
    "report": "give --report FILE",
    "series": "give --series UID",
    "splits": "give no other --splits than before",
    "start": "unetr train --from {file}",
    "strict": "leave out --strict",
    "template": "unetr plan --template prints one",
    "tls": "give --tls-cert and --tls-key",
    "to": "unetr export --to onnx does it",
    "transform": "give --transform sform or --transform qform",
}


@dataclass(slots=True)
class _Running:
    """The command that runs, or has just ended."""

    command: Callable[..., None] | None = None


_running = _Running()


def hint_for(command: Callable[..., None]) -> None:
    """From now on, only options that this command has are told."""
    _running.command = command


def with_hint(error: UnetrError) -> str:
    """The message as the command line shows it: with the option that would change the outcome, where there is one."""
    return hinted(str(error), error.hint)


def hinted(message: str, hint: str | None) -> str:
    """The message with what its hint means here, where it has one."""
    advice = HINTS.get(hint or "")
    if advice is None:
        return message
    command = None if "unetr " in advice else _running.command
    if command is not None and not _options(command).issuperset(named_options(advice)):
        return message
    return f"{message} ({advice.format(file=message.partition(': ')[0])})"


def named_options(advice: str) -> set[str]:
    """The options that an advice names, such as --plan."""
    return set(re.findall(r"--[a-z-]+", advice))


@cache
def _options(command: Callable[..., None]) -> frozenset[str]:
    """The options of a command, such as --plan."""
    import typer

    alone = typer.Typer()
    alone.command()(command)
    return frozenset(option for each in typer.main.get_command(alone).params for option in each.opts)
