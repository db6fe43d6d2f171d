"""The checks of the built site find what they are there for; docstrings become Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.check_site import problems

HEAD = '<link rel="stylesheet" href="style.css"><a href="index.html">home</a><a href="other.html#part">other</a>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site/style.css").write_text("")
    for name in ("index", "other"):
        (tmp_path / f"docs/{name}.md").write_text("# Title")
        (tmp_path / f"site/{name}.html").write_text(f'{HEAD}<h2 id="part">Part</h2>')
    return tmp_path


def found(site: Path) -> list[str]:
    return problems(site / "site", site / "docs")


def test_a_sound_site_has_no_problems(site: Path) -> None:
    assert found(site) == []


@pytest.mark.parametrize(
    "markup, words",
    [
        ('<a href="missing.html">x</a>', "index.html: missing.html leads nowhere"),
        ('<a href="other.html#nowhere">x</a>', "index.html: other.html#nowhere names an anchor that is not there"),
        ('<a href="#gone">x</a>', "index.html: #gone names an anchor that is not there"),
        ('<img src="gone.png">', "index.html: gone.png leads nowhere"),
        ('<script src="https://cdn.example.org/x.js"></script>', "loads https://cdn.example.org/x.js from elsewhere"),
        ('<link rel="stylesheet" href="//fonts.example.org/f.css">', "loads //fonts.example.org/f.css from elsewhere"),
        ('<pre class="mermaid">graph</pre>', "loads mermaid from elsewhere"),
    ],
)
def test_what_is_wrong_on_a_page_is_found(markup: str, words: str, site: Path) -> None:
    page = site / "site/index.html"
    page.write_text(page.read_text() + markup)
    [problem] = found(site)
    assert words in problem


def test_links_that_a_person_follows_may_lead_elsewhere(site: Path) -> None:
    page = site / "site/index.html"
    page.write_text(page.read_text() + '<a href="https://example.org">x</a><img src="data:image/png;base64,">')
    assert found(site) == []


def test_pages_that_are_missing_or_that_nothing_leads_to_are_found(site: Path) -> None:
    (site / "docs/unbuilt.md").write_text("# Title")
    (site / "site/hidden.html").write_text(HEAD)
    unbuilt, hidden = found(site)
    assert unbuilt.endswith("unbuilt.md: no page was built of it")
    assert hidden == "hidden.html: no other page leads to it"


def test_docstrings_become_markdown() -> None:
    pytest.importorskip("griffe", reason="griffe comes with the group docs")
    from tools.docstrings import as_markdown

    text = (
        "Writes it.\n\npath: where it goes, .nii.gz or\n.mha. dtype, order: of the voxels (see note: below). "
        "Returns x ->\ny. Raises InputError: no.\n\n>>> write('a')\n1"
    )
    assert as_markdown(text, {"path", "dtype", "order"}) == (
        "Writes it.\n\n"
        "- `path`: where it goes, .nii.gz or .mha.\n- `dtype`, `order`: of the voxels (see note: below).\n\n"
        "Returns x → y. Raises InputError: no.\n\n```pycon\n>>> write('a')\n1\n```"
    )
    assert as_markdown("No names here: none.", {"path"}) == "No names here: none."
