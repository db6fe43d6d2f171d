"""The page: well-formed, complete, self-contained, and safe against names that are not words."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from unetr.printable import shortened
from unetr.report.page import ReportInput, WorstCase, report_html, write_report
from unetr.report.text import Html, element, joined, markup, table

PNG = b"\x89PNG\r\n\x1a\n not really"
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Collects text, tags and attributes, and checks that tags close in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.pieces, self.rows = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(self.pieces)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.pieces.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, first, number_of_cells):
        found = [row for row in self.rows if row[0] == first and len(row) == number_of_cells]
        assert found, f"no row {first!r} with {number_of_cells} cells"
        return found[0]


@pytest.fixture
def full(plan, fingerprint, results, hostile, tmp_path):
    training, validation = tmp_path / "log.csv", tmp_path / "validation.csv"
    training.write_text("step,loss,dice_loss,cross_entropy,learning_rate\n1,2,1,1,1e-3\n2,1,.5,.5,1e-4\n")
    validation.write_text("step,mean_dice,dice_anterior\n1,.5,.5\n")
    return ReportInput(
        plan=plan,
        fingerprint=fingerprint,
        results=results,
        training_log=training,
        validation_log=validation,
        worst_cases=(WorstCase(hostile, 0.0, PNG), WorstCase("c1", 0.8125, PNG)),
        data_description=f"described by {hostile}",
        data_licence="CC-BY-SA 4.0",
        citation="Antonelli et al. 2022 <b>bold</b>",
        facts={"command": "unetr train DATA -o RUN", "unetr": "0.1.0", hostile: hostile},
    )


def test_contains_every_class_and_number(full, hostile):
    page = Page(report_html(full))
    assert page.row("anterior", 8)[1].startswith("0.582 (")  # (0.9125 + 0.8325 + 0) / 3
    assert page.row("anterior", 8)[2:4] == ["0.833", "0.505"]
    assert page.row(hostile, 8)[1].startswith("0.356 (")  # (0.7125 + 0) / 2
    assert page.row("anterior", 7) == ["anterior", "3", "0", "1", "0", "3 cases", "2 cases"]
    assert page.row(hostile, 7) == [hostile, "3", "1", "1", "0", "2 cases", "1 case"]
    assert ["c1", "anterior", "0.912", "0.839", "1.25", "0.41", "0.987", "0.098", "0.099"] in page.rows
    assert ["c2", hostile, "-", "-", "-", "-", "-", "0.000", "0.000"] in page.rows
    assert page.row("all classes", 8)[1].startswith("0.548 (")  # (0.8125 + 0.8325 + 0) / 3
    assert "surface Dice at 1.5 mm" in page.text
    assert f"{0.469:.3f}" in page.text  # mean over classes of the class's mean
    for words in ("CC-BY-SA 4.0", "unetr train DATA -o RUN", "Hatamizadeh", "spare", "mean Dice 0.812"):
        assert words in page.text, words


def test_plan_with_every_reason(full, hostile):
    page = Page(report_html(full))
    assert page.row("spacing_mm", 3) == ["spacing_mm", "0.8, 1, 2.5", "median of the cases"]
    assert page.row("network.preset", 3) == ["network.preset", "paper", "preset paper because it was asked for"]
    assert page.row("network.taps", 3)[1:] == ["3, 6, 9, 12", ""]
    assert page.row("training.augment.mirror_axes", 3)[1:] == ["none", "no axis survives"]
    assert page.row("unheard_of", 3) == ["unheard_of", "", hostile]
    assert page.row(f"labels.{hostile}", 3)[1] == "2"
    assert page.row("channels.T1.normalisation", 3)[1] == "zscore"


def test_fingerprint(full, hostile):
    page = Page(report_html(full))
    assert page.row("voxels", 2)[1] == "35×51×36 (median; 30–36 × 50–58 × 36–40)"
    assert page.row("spacing (mm)", 2)[1] == "0.8×1×2.5 in all cases"
    assert page.row("orientations", 2)[1] == "RAS (12), LPS (7)"
    assert page.row("T1", 7) == ["T1", "-3", "5", "205", "987", "4321", "210.5 ± 33.25"]
    assert page.row("anterior", 5) == ["anterior", "1", "17 of 19", "3.21%", "1.75"]
    assert f"described by {hostile}" in page.text


def test_hostile_names_are_text(full, hostile):
    text = report_html(full)
    assert "<script" not in text
    page = Page(text)
    assert page.text.count(hostile) >= 8
    assert "script" not in page.tags
    assert "b" in page.tags
    assert "Antonelli et al. 2022 <b>bold</b>" in page.text
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_loads_nothing_from_elsewhere(full):
    text = report_html(full)
    page = Page(text)
    words = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", words, re.IGNORECASE)
    assert not {"link", "script", "iframe", "object"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "href", "srcset", "data", "action")]
    assert sources
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in sources)
    anchors = {value[1:] for value in sources if value.startswith("#")}
    assert anchors <= {value for name, value in page.attributes if name == "id"}


def test_pictures_are_inside(full):
    page = Page(report_html(full))
    pictures = [value for name, value in page.attributes if name == "src"]
    decoded = [base64.b64decode(value.partition(",")[2]) for value in pictures]
    assert len(decoded) == 4  # distributions, two cases, curves
    assert decoded.count(PNG) == 2
    assert all(data.startswith(b"\x89PNG") for data in decoded)


def test_light_dark_and_paper(full):
    text = report_html(full)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_a_plan_is_enough(plan, tmp_path):
    path = tmp_path / "new folder" / "report.html"
    write_report(ReportInput(plan=plan), path)
    page = Page(path.read_text(encoding="utf-8"))
    assert page.row("data", 2)[1] == plan.dataset
    assert "not stated" in page.text
    assert "Scores" not in page.text


def test_absent_logs(full, tmp_path):
    page = Page(report_html(replace(full, training_log=tmp_path / "no.csv", validation_log=None)))
    assert "Training" not in [piece.strip() for piece in page.pieces]


def test_pieces_of_text():
    assert markup("<&>") == "&lt;&amp;&gt;"
    assert markup(Html("<i>")) == "<i>"
    assert element("p", joined(["<", Html("<i></i>")]), 'a"b') == '<p class="a&quot;b">&lt;\n<i></i></p>'
    assert "<thead>" not in table([], [("a", 1)])
    assert (shortened("abc", 3), shortened("abcdefgh", 5)) == ("abc", "ab…gh")
