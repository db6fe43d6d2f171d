"""How large the rooms of the source tree are, and which way the imports between them point.

    uv run python benchmarks/house.py [TREE]

TREE is a checkout, this one by default; an older state is measured on what `git worktree add` or `git archive` made of
it. Nothing of TREE is imported but for the two import times, which fresh processes take with this Python.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import statistics
import subprocess
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
CODE_FOLDERS = ("src", "tests", "benchmarks", "fuzz")
_PAGES_LEFT_OUT = {"LICENSE.md"}
_RUNS = 7
_Row = tuple[str, int | str, str]  # what is counted, the figure, which ones


@dataclass(frozen=True)
class Function:
    """One function of the code. parameters: self and cls are left out."""

    file: str
    name: str
    lines: int
    parameters: int
    is_command: bool


@dataclass(frozen=True)
class Import:
    """One file of the package imports another; both relative to the tree. upward: the layers forbid it."""

    importer: str
    imported: str


def entries(tree: Path) -> dict[str, int]:
    """Folder of the package -> files and folders in it; `__init__.py` is left out."""
    package = tree / "src" / "unetr"
    counted = {}
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        names = [path.name for path in folder.iterdir() if path.name not in {"__pycache__", "__init__.py"}]
        if names:
            counted[folder.relative_to(tree / "src").as_posix()] = len(names)
    return counted


def code_files(tree: Path, *folders: str) -> Iterator[Path]:
    for folder in folders or CODE_FOLDERS:
        yield from sorted((tree / folder).rglob("*.py"))


def long_files(tree: Path, most: int) -> dict[str, int]:
    """File -> lines, for the files of code with more than `most`."""
    lines = {path.relative_to(tree).as_posix(): len(_text(path).splitlines()) for path in code_files(tree)}
    return {name: count for name, count in lines.items() if count > most}


def functions(tree: Path, *folders: str) -> Iterator[Function]:
    """Every function, from its first line after the decorators to its last, docstring included."""
    for path in code_files(tree, *folders):
        name = path.relative_to(tree).as_posix()
        for node in ast.walk(ast.parse(_text(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = node.args
                given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                parameters = sum(argument.arg not in {"self", "cls"} for argument in given)
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield Function(name, node.name, lines, parameters, _is_command(path, node.name))


def imports(tree: Path) -> set[Import]:
    """Imports between files of the package, also those inside functions; those for type checkers alone are left out."""
    modules = {_module(path, tree): path.relative_to(tree).as_posix() for path in code_files(tree, "src")}
    found = set()
    for module, name in modules.items():
        for target in _imported(ast.parse(_text(tree / name)), module, is_package=name.endswith("__init__.py")):
            known = target if target in modules else target.rpartition(".")[0]
            if known in modules and known != module:
                found.add(Import(name, modules[known]))
    return found


def arrows(found: set[Import]) -> set[tuple[str, str]]:
    """(folder, folder it imports from), for different folders."""
    pairs = {(_folder(one.importer), _folder(one.imported)) for one in found}
    return {(a, b) for a, b in pairs if a != b}


def upward(tree: Path, found: set[Import]) -> list[Import]:
    """Imports of a layer above or beside the importer's, by the layers of pyproject.toml."""
    settings = tomllib.loads(_text(tree / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    contract = next(one for one in settings if one["type"] == "layers")
    height = {
        name.strip(): level
        for level, names in enumerate(reversed(contract["layers"]))
        for name in re.split(r"[|:]", names)
    }
    allowed = {tuple(part.strip() for part in line.split("->")) for line in contract.get("ignore_imports", [])}

    def is_upward(one: Import) -> bool:
        importer, imported = _module(tree / one.importer, tree), _module(tree / one.imported, tree)
        low, high = _layer(importer, height), _layer(imported, height)
        if low is None or high is None or low == high or (importer, imported) in allowed:
            return False
        return height[high] >= height[low]

    return sorted(filter(is_upward, found), key=lambda one: (one.importer, one.imported))


def cycles(found: set[Import]) -> list[list[str]]:
    """Groups of files each of which reaches the others by imports."""
    edges = defaultdict(set)
    for one in found:
        edges[one.importer].add(one.imported)
    reached = {start: _reached(start, edges) for start in edges}
    groups = {frozenset(b for b in reached[a] if a in reached.get(b, ())) for a in reached if a in reached[a]}
    return sorted(sorted(group) for group in groups)


def long_lines(tree: Path, most: int) -> dict[str, list[int]]:
    """Page -> lengths of its lines over `most` characters, outside tables and blocks of code."""
    found = {}
    for page in _pages(tree):
        lengths = [len(line) for line in _prose(_text(page)) if len(line) > most]
        if lengths:
            found[page.relative_to(tree).as_posix()] = lengths
    return found


def seconds_of(tree: Path, *arguments: str) -> tuple[float, float]:
    """Median seconds of fresh processes of this Python that run `arguments` on the tree's package, warm.

    By the clock, and of the processor: the second says little of what else the machine does.
    """
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    clock, processor = [], []
    for _ in range(_RUNS + 2):
        start, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        clock.append(time.perf_counter() - start)
        processor.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(clock[2:]), statistics.median(processor[2:])


def table(tree: Path) -> str:
    """The figures as a Markdown table."""
    rows = [*_rooms(tree), *_code(tree), *_prose_rows(tree), *_starts(tree)]
    return "\n".join(["| what | figure | which |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)])


def _rooms(tree: Path) -> Iterator[_Row]:
    counted = sorted(entries(tree).items(), key=lambda item: -item[1])
    found = imports(tree)
    pairs = arrows(found)
    climbs, circles = upward(tree, found), cycles(found)
    yield "entries of the largest folder", counted[0][1], f"`{counted[0][0]}`"
    crowded = [f"{folder} {count}" for folder, count in counted if count > 9]
    yield "folders of over 9 entries", len(crowded), "; ".join(crowded)
    yield "folders of code", len(counted), ""
    yield "imports between files", len(found), ""
    yield "arrows between folders", len(pairs), ""
    storeys = {(_storey(a), _storey(b)) for a, b in pairs}
    yield "arrows between the package's first folders", sum(a != b for a, b in storeys), ""
    yield "upward imports", len(climbs), "; ".join(f"{one.importer} -> {one.imported}" for one in climbs)
    yield "import cycles between files", len(circles), "; ".join(" ~ ".join(group) for group in circles)


def _code(tree: Path) -> Iterator[_Row]:
    every = list(functions(tree))
    own = [one for one in every if one.file.startswith("src/")]
    yield "median lines of a function in src", int(statistics.median(one.lines for one in own)), f"{len(own)} functions"
    long = sorted((one for one in every if one.lines > 50), key=lambda one: -one.lines)
    yield "functions over 50 lines", len(long), "; ".join(f"{one.file}:{one.name} {one.lines}" for one in long)
    wide = [one for one in own if one.parameters > 8 and not one.is_command]
    names = (f"{one.file}:{one.name} {one.parameters}" for one in wide)
    yield "functions over 8 parameters, commands left out", len(wide), "; ".join(names)
    files = long_files(tree, 300)
    yield "files over 300 lines", len(files), "; ".join(f"{name} {count}" for name, count in files.items())


def _prose_rows(tree: Path) -> Iterator[_Row]:
    pages = long_lines(tree, 120)
    names = (f"{name} {len(lengths)}" for name, lengths in pages.items())
    yield "markdown lines over 120 characters", sum(map(len, pages.values())), "; ".join(names)
    longest = {max(lengths): name for name, lengths in pages.items()}
    yield "longest markdown line", max(longest, default="under 120"), longest[max(longest)] if longest else ""


def _starts(tree: Path) -> Iterator[_Row]:
    commands = {
        "`import unetr`": ("-c", "import unetr"),
        "`unetr --help`": ("-m", "unetr", "--help"),
        "Python that does nothing": ("-c", ""),
    }
    for name, arguments in commands.items():
        clock, processor = seconds_of(tree, *arguments)
        yield f"{name}, s", f"{clock:.3f}", f"of the processor {processor:.3f}; medians of {_RUNS}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _folder(file: str) -> str:
    return file.rpartition("/")[0]


def _storey(folder: str) -> str:
    """src/unetr/model/graph -> src/unetr/model."""
    return "/".join(folder.split("/")[:3])


def _module(path: Path, tree: Path) -> str:
    parts = path.relative_to(tree / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _layer(module: str, height: dict[str, int]) -> str | None:
    """The layer that a module belongs to: the longest one that it lies in."""
    within = [layer for layer in height if module == layer or module.startswith(layer + ".")]
    return max(within, key=len, default=None)


def _imported(node: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """Full names that a module's code imports: a module, or a module and what is taken from it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            start = child.module or ""
            if child.level:
                base = module.split(".")[: len(module.split(".")) - child.level + is_package]
                start = ".".join([*base, *([child.module] if child.module else [])])
            yield from (f"{start}.{alias.name}" for alias in child.names)
        yield from _imported(child, module, is_package=is_package)


def _is_command(file: Path, name: str) -> bool:
    """Whether typer reads the function's parameters from the command line: `unetr NAME` is `NAME` in NAME.py."""
    return file.stem == name and "/app/commands/" in file.as_posix()


def _reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for one in edges.get(waiting.pop(), set()) - reached:
            reached.add(one)
            waiting.append(one)
    return reached


def _pages(tree: Path) -> Iterator[Path]:
    yield from sorted(path for path in tree.glob("*.md") if path.name not in _PAGES_LEFT_OUT)
    yield from sorted((tree / "docs").rglob("*.md"))


def _prose(text: str) -> Iterator[str]:
    """A page's lines that are neither a table's nor within a block of code."""
    fence = ""
    for line in text.splitlines():
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence and not line.lstrip().startswith("|"):
            yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", nargs="?", type=Path, default=HERE)
    tree = parser.parse_args().tree.resolve()
    print(table(tree))
    sizes = Counter(min(one.lines // 10, 5) * 10 for one in functions(tree, "src"))
    print("\nfunctions of src by lines:", ", ".join(f"from {size}: {sizes[size]}" for size in sorted(sizes)))


if __name__ == "__main__":
    main()
