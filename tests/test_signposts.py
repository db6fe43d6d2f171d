"""Names of files and of things in the code, as comments, docstrings and pages give them, lead somewhere."""

from __future__ import annotations

import ast
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
SOURCE = TREE / "src" / "unetr"
CODE = ("src", "tests", "benchmarks", "fuzz", "tools")
# Pages that tell of the past, in the names that things had then.
OF_THE_PAST = ("CHANGELOG.md", "docs/lab/")
ROOMS = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
# `report.json` is a file, not a name in the room `report`.
FILES = {
    "csv",
    "gz",
    "html",
    "json",
    "md",
    "nii",
    "npy",
    "onnx",
    "png",
    "py",
    "safetensors",
    "toml",
    "txt",
    "xml",
    "yaml",
}

Names = dict[str, set[str]]


@cache
def paths() -> frozenset[str]:
    """All files and folders of the code and the pages, from the top of the tree."""
    files = [path for top in (*CODE, "docs") for path in (TREE / top).rglob("*") if "__pycache__" not in path.parts]
    return frozenset(path.relative_to(TREE).as_posix() for path in [*files, *TREE.glob("*")])


@cache
def modules() -> dict[tuple[str, ...], Names]:
    """Every module of the package, by its parts, with what it defines; of a class, with its attributes."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[parts] = _defined(ast.parse(path.read_text(encoding="utf-8")))
    return found


@cache
def top_names() -> Names:
    """Name -> the attributes it has where it is a class, of all that is defined anywhere in the package."""
    every: Names = defaultdict(set)
    for names in modules().values():
        for name, attributes in names.items():
            every[name] |= attributes
    return every


def _defined(tree: ast.Module) -> Names:
    names: Names = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            names[node.name] = {*_assigned(node.body), *_of_self(node)}
        elif isinstance(node, ast.FunctionDef):
            names[node.name] = set()
        elif isinstance(node, ast.If):  # imports for types only
            names |= _defined(ast.Module(node.body, []))
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: set() for alias in node.names}
        else:
            names |= {name: set() for name in _assigned([node])}
    return names


def _assigned(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target)
        elif isinstance(node, ast.Assign):
            yield from (ast.unparse(target) for target in node.targets)


def _of_self(node: ast.ClassDef) -> set[str]:
    return {
        each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute) and ast.unparse(each.value) == "self"
    }


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every comment and docstring of a file of Python; of a page, all of it but what is quoted."""
    if path.suffix == ".md":
        plain = re.sub(
            r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), path.read_text("utf-8"), flags=re.M | re.S
        )
        yield from enumerate(plain.splitlines(), start=1)
        return
    with path.open("rb") as handle:
        yield from ((t.start[0], t.string) for t in tokenize.tokenize(handle.readline) if t.type == tokenize.COMMENT)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from enumerate(node.value.value.splitlines(), start=node.lineno)


def is_lost(name: str) -> bool:
    """Whether a name says that it is of this project, and is not."""
    if name.endswith(".py") or name.startswith(("src/", "tests/", "benchmarks/", "docs/", *(f"{r}/" for r in ROOMS))):
        pattern = re.sub(r"\bNAME\b", "*", name.rstrip("/"))
        return not any(fnmatch(f"/{known}", f"*/{pattern}") for known in paths())
    parts = tuple(name.removesuffix("()").split("."))
    if not all(part.isidentifier() for part in parts) or len(parts) < 2 or parts[-1] in FILES:
        return False
    claims = parts[0] == "unetr" or parts[0] in ROOMS or bool(top_names().get(parts[0]))
    claims |= parts[-1] in top_names() and any(module[-1] == parts[0] for module in modules())
    return claims and not _leads_somewhere(parts)


def _leads_somewhere(parts: tuple[str, ...]) -> bool:
    if parts[0] in top_names() and parts[1] in top_names()[parts[0]]:
        return True
    for module, names in modules().items():
        for length in range(1, len(parts) + 1):
            if module[-length:] != parts[:length]:
                continue
            rest = parts[length:]
            if not rest or (rest[0] in names and (len(rest) == 1 or rest[1] in names[rest[0]] or not names[rest[0]])):
                return True
    return False


def signs(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name: what stands in backticks, and files of Python that stand in plain text."""
    for line, text in texts(path):
        quoted = re.findall(r"(?<!`)`([^`\s]+)`(?!`)", text)
        plain = re.findall(r"(?<![\w/*<{.-])[a-z_/]+\.py\b(?!\w)", re.sub(r"`[^`]*`", "", text))
        yield from ((line, name) for name in [*quoted, *plain])


def files() -> list[Path]:
    """All code and pages but those of the past."""
    every = [*(TREE / name for name in sorted(paths()) if name.endswith((".py", ".md")))]
    return [path for path in every if not path.relative_to(TREE).as_posix().startswith(OF_THE_PAST)]


def test_every_name_leads_somewhere() -> None:
    lost = [
        f"{path.relative_to(TREE)}:{line}: {name}" for path in files() for line, name in signs(path) if is_lost(name)
    ]
    assert lost == []


def test_a_name_that_leads_nowhere_would_be_found() -> None:
    lost = ("core.plan.nothing", "unetr.core.plan.schema.Nothing", "Plan.nothing", "model/nothing.py", "predict.decide")
    led = ("core.plan.schema.Plan", "schema.Plan.outputs", "scores.decide", "core/plan/schema.py", "network.patch")
    assert [name for name in lost if not is_lost(name)] == []
    assert [name for name in led if is_lost(name)] == []
