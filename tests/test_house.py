"""The sizes of rooms, files and functions, and the directions of imports: what is reached stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import house

TREE = Path(__file__).resolve().parents[1]

# The package's own rooms, and the command line's. Names leave these lists; none is added.
LARGE_FOLDERS = {"unetr", "unetr/app"}


@pytest.fixture(scope="module")
def found() -> set[house.Import]:
    return house.imports(TREE)


def test_no_import_points_upward(found: set[house.Import]) -> None:
    assert house.upward(TREE, found) == []


def test_no_files_import_each_other(found: set[house.Import]) -> None:
    assert house.cycles(found) == []


def test_a_folder_can_be_held_in_mind() -> None:
    assert {folder for folder, count in house.entries(TREE).items() if count > 10} <= LARGE_FOLDERS


def test_a_function_fits_a_screen() -> None:
    assert [f"{one.file}:{one.name}" for one in house.functions(TREE) if one.lines > 50] == []


def test_a_function_takes_few_parameters() -> None:
    """Of the package; those that typer reads from the command line are left out."""
    many = {
        f"{one.file}:{one.name}" for one in house.functions(TREE, "src") if one.parameters > 8 and not one.is_command
    }
    assert many == set()


def test_a_file_fits_a_few_screens() -> None:
    assert house.long_files(TREE, 300) == {}


def test_pages_can_be_read_side_by_side() -> None:
    assert house.long_lines(TREE, 120) == {}


def test_an_import_upward_and_a_cycle_would_be_found(tmp_path: Path) -> None:
    """The checks above rest on it that these are seen, also within a function."""
    package = tmp_path / "src" / "unetr"
    for room in ("core", "app"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "core" / "low.py").write_text("def lazy():\n    from unetr.app import high\n", encoding="utf-8")
    (package / "app" / "high.py").write_text("from unetr.core.low import lazy\n", encoding="utf-8")
    layers = '[[tool.importlinter.contracts]]\ntype = "layers"\nlayers = ["unetr.app", "unetr.core"]\n'
    (tmp_path / "pyproject.toml").write_text(layers, encoding="utf-8")
    found = house.imports(tmp_path)
    climb = house.Import("src/unetr/core/low.py", "src/unetr/app/high.py")
    assert house.upward(tmp_path, found) == [climb]
    assert house.cycles(found) == [["src/unetr/app/high.py", "src/unetr/core/low.py"]]


def test_tables_and_code_may_be_wide(tmp_path: Path) -> None:
    wide = "word " * 40
    (tmp_path / "page.md").write_text(f"{wide}\n| {wide} |\n```\n{wide}\n```\n", encoding="utf-8")
    assert house.long_lines(tmp_path, 120) == {"page.md": [len(wide)]}


def test_no_page_holds_both_sides_of_a_merge() -> None:
    begun = [
        page.name
        for page in (*TREE.glob("*.md"), *(TREE / "docs").rglob("*.md"))
        if "\n" + "<" * 7 in page.read_text(encoding="utf-8")
    ]
    assert begun == []
