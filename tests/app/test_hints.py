"""Messages speak to Python and the command line alike: only app names options, one table for all hints."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import unetr
from unetr.app import cli, hints
from unetr.core.files.outputs import Advice
from unetr.core.machine.allowance import DoesNotFitError
from unetr.errors import InputError, MachineError, UnetrError

SOURCE = Path(unetr.__file__).parent
BELOW_APP = [path for path in SOURCE.rglob("*.py") if SOURCE / "app" not in path.parents]
COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
STYLES = SOURCE / "report" / "style.py"


def texts(tree: ast.Module) -> Iterator[ast.Constant]:
    """The string literals of a module, also those within f-strings, without its docstrings."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node


def strings_in(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def hints_given(tree: ast.Module) -> set[str]:
    """What the calls of a module give as `hint=`, either side of an `if` too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "hint":
                    value = keyword.value
                    parts = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
                    found |= set().union(*(strings_in(part) for part in parts if isinstance(part, ast.Constant)))
    return found


@pytest.mark.parametrize("path", BELOW_APP, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_library_names_no_option_and_advises_no_command(path: Path) -> None:
    for text in texts(ast.parse(path.read_text(encoding="utf-8"))):
        said = text.value
        # CSS has variables of that form; an option alone is an argument of a process that is started.
        if path != STYLES and not re.fullmatch("--[a-z-]+", said):
            assert not re.search(r"(?<![\w-])--[a-z]", said), f"{path}:{text.lineno}: {said!r}"
        assert not re.search(rf"\b(see|with|run|use) `?unetr ({'|'.join(COMMANDS)})\b", said), f"{path}: {said!r}"


def test_every_hint_that_is_given_has_its_sentence_and_every_sentence_is_used() -> None:
    given = {Advice().hint}.union(*(hints_given(ast.parse(path.read_text(encoding="utf-8"))) for path in BELOW_APP))
    assert given == set(hints.HINTS)


def test_every_option_that_a_hint_names_exists_in_a_command() -> None:
    options = {name: {option for each in of.params for option in each.opts} for name, of in COMMANDS.items()}
    for hint in hints.HINTS.values():
        named = hints.named_options(hint) - {"--debug"}
        of_command = re.search(r"unetr (\w+)", hint)
        if of_command:
            assert named <= options[of_command[1]], hint
        else:
            assert any(named <= each for each in options.values()), hint
    assert "--debug" in [option for each in typer.main.get_command(cli.app).params for option in each.opts]


def test_a_hint_is_told_by_commands_that_have_its_option() -> None:
    error = InputError("a.nii.gz: its sform is sheared", hint="accept_shear")
    assert str(error) == "a.nii.gz: its sform is sheared"
    hints.hint_for(cli.predict.predict)
    assert hints.with_hint(error) == "a.nii.gz: its sform is sheared (give --accept-shear)"
    hints.hint_for(cli.train.train)
    assert hints.with_hint(error) == str(error)
    # What another command does is told by all.
    assert hints.with_hint(InputError("a", hint="check")) == "a (see unetr check)"
    assert hints.with_hint(InputError("run/plan.yaml: is edited", hint="plan")).endswith(" (give --plan run/plan.yaml)")
    assert hints.with_hint(InputError("a")) == "a"
    assert hints.with_hint(InputError("a", hint="what no option changes")) == "a"


@pytest.mark.parametrize("kind", [InputError, MachineError, DoesNotFitError])
def test_hints_cross_processes(kind: type[UnetrError]) -> None:
    error = pickle.loads(pickle.dumps(kind("a: is wrong", hint="strict")))
    assert (type(error), str(error), error.hint) == (kind, "a: is wrong", "strict")
