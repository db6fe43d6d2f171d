"""One self-contained HTML page about a run: what was trained, on which data, how it went, how good it is.

Nothing on the page is loaded from elsewhere; pictures are inside it; a content policy forbids scripts. Every word that
comes from files (names, reasons, citations) is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from unetr.core.files.atomic import write_text
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.core.text.numbers import counted, interval, number, with_interval
from unetr.evaluation.results import Results
from unetr.evaluation.summary import Statistic
from unetr.report.facts import data_section, plan_section
from unetr.report.plots import distributions_png, read_log, training_curves_png
from unetr.report.style import STYLE
from unetr.report.text import Html, element, joined, markup, picture, table

_PAPER = (
    "Hatamizadeh et al.: UNETR: Transformers for 3D Medical Image Segmentation. "
    "IEEE/CVF Winter Conference on Applications of Computer Vision (WACV), 2022."
)
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


@dataclass(frozen=True, slots=True, eq=False)
class WorstCase:
    """A case to look at: its name, mean Dice over classes, and a picture of truth and prediction."""

    name: str
    dice: float
    png: bytes


@dataclass(frozen=True, slots=True, eq=False)
class ReportInput:
    """Everything that the page shows; what is None or empty is left out.

    training_log: CSV with step, loss, dice_loss, cross_entropy, learning_rate. timing_log: step, seconds, wait_seconds
    (the training log may hold these columns too). validation_log: step, mean_dice, dice_<class>.
    data_description, data_licence, citation: of the data. facts: name -> value, such as versions and the command line.
    """

    plan: Plan
    title: str = ""
    fingerprint: Fingerprint | None = None
    results: Results | None = None
    training_log: Path | None = None
    timing_log: Path | None = None
    validation_log: Path | None = None
    worst_cases: tuple[WorstCase, ...] = ()
    data_description: str = ""
    data_licence: str = ""
    citation: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def write_report(report: ReportInput, path: Path) -> None:
    """Writes the page to `path`, atomically. Raises MachineError."""
    write_text(path, report_html(report))


def report_html(report: ReportInput) -> str:
    """The page as text."""
    title = report.title or f"{report.plan.dataset}: UNETR report"
    scored = [("Scores", _scores_section(report.results)), ("Cases", _cases_section(report))]
    sections = [
        *(reversed(scored) if report.results is not None and _of_one_case(report.results) else scored),
        ("Training", _training_section(report)),
        ("Plan", plan_section(report.plan)),
        ("Data", data_section(report.plan, report.fingerprint, report.data_description)),
        ("How to cite", _citation_section(report)),
        ("This run", _facts_section(report.facts)),
    ]
    shown = [(name, content) for name, content in sections if content]
    body = [element("header", joined([element("h1", title), _lead(report), _contents([name for name, _ in shown])]))]
    for name, content in shown:
        body.append(Html(f'<section id="{_anchor(name)}">{element("h2", name)}{content}</section>'))
    body.append(element("footer", "Made by unetr. For research; not a medical device, not for diagnosis."))
    return _PAGE.substitute(title=markup(title), style=STYLE, body=joined(body))


def _lead(report: ReportInput) -> Html:
    plan, results = report.plan, report.results
    network = f"{plan.network.preset} ({plan.network.decoder} decoder)"
    tiles = [("network", network), ("window", "×".join(str(n) for n in plan.window))]
    if results is not None:
        spread = [("95 % interval over cases", _interval(results)), ("cases scored", str(len(results.cases)))]
        each = [(f"Dice of {summary.label}", number(summary.metrics["dice"].mean, 3)) for summary in results.classes]
        one = _of_one_case(results)
        tiles = [("mean foreground Dice", number(results.mean_dice, 3)), *(each[:4] if one else spread), *tiles]
    parts = [element("div", joined([element("b", value), element("span", name)]), "tile") for name, value in tiles]
    return element("div", joined(parts), "tiles")


def _of_one_case(results: Results) -> bool:
    """Of one case there is no distribution to show, and no worst case."""
    return len(results.cases) == 1


def _interval(results: Results) -> str:
    dice = results.foreground["dice"]
    return interval(dice.ci_low, dice.ci_high, 3)


def _mean(found: Statistic, digits: int) -> str:
    return with_interval(found.mean, found.ci_low, found.ci_high, digits)


def _contents(names: list[str]) -> Html:
    return element("nav", joined(Html(f'<a href="#{_anchor(name)}">{markup(name)}</a>') for name in names))


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _scores_section(results: Results | None) -> Html:
    if results is None or not results.classes:
        return Html("")
    if _of_one_case(results):
        explanation = "Dice, IoU and surface Dice: 1 is perfect; distances: 0 is perfect. Background is no class."
        return joined([element("p", explanation), _case_table(results)])
    nsd = f"surface Dice at {results.tolerance_mm:g} mm"
    header = ["class", "Dice", "median", "std", "IoU", "HD95 (mm)", "ASSD (mm)", nsd]
    digits = {"iou": 3, "hd95_mm": 2, "assd_mm": 2, "nsd": 3}
    groups = [(summary.label, summary.metrics) for summary in results.classes]
    rows = []
    for label, metrics in [*groups, ("all classes", results.foreground)]:
        dice = metrics["dice"]
        others = [_mean(metrics[name], places) for name, places in digits.items()]
        rows.append([label, _mean(dice, 3), number(dice.median, 3), number(dice.std, 3), *others])
    png = distributions_png(results, {"dice": "Dice", "hd95_mm": "HD95 (mm)", "nsd": nsd})
    explanation = (
        "Mean over cases, with its 95 % bootstrap confidence interval. Background is no class. All classes: per case "
        "the mean over classes, then over cases. Dice, IoU and surface Dice: 1 is perfect; distances: 0 is perfect."
    )
    parts = [element("p", explanation), table(header, rows, "numbers")]
    if png is not None:
        parts += [
            element("h3", "Distribution over cases"),
            picture(png, "Scores per class: box and one point per case"),
        ]
    return joined([*parts, element("h3", "Undefined scores"), _undefined(results)])


def _undefined(results: Results) -> Html:
    header = ["class", "cases", "in neither", "not predicted", "predicted, not in truth", "Dice from", "distances from"]
    rows = [
        [
            summary.label,
            summary.cases,
            summary.empty_both,
            summary.empty_prediction,
            summary.empty_truth,
            counted(summary.metrics["dice"].n, "case"),
            counted(summary.metrics["hd95_mm"].n, "case"),
        ]
        for summary in results.classes
    ]
    explanation = (
        "A class in neither prediction nor truth has no score in that case. In only one of them its Dice is 0 and its "
        "surface distances are undefined. Undefined scores are left out of the means."
    )
    parts = [element("p", explanation), table(header, rows, "numbers")]
    for what, names in (
        ("Without a prediction, counted as empty", results.missing),
        ("Predicted, but without a label, not scored", results.extra),
    ):
        if names:
            parts.append(element("p", f"{what} ({len(names)}): {', '.join(names)}"))
    return joined(parts)


def _cases_section(report: ReportInput) -> Html:
    parts: list[Html] = []
    one = report.results is not None and _of_one_case(report.results)
    if report.worst_cases:
        which = "" if one else "The cases with the lowest mean Dice over classes. "
        parts.append(element("p", f"{which}Truth above, prediction below."))
    for case in report.worst_cases:
        caption = element("figcaption", joined([element("b", case.name), f"mean Dice {number(case.dice, 3)}"]))
        image = picture(case.png, f"Truth and prediction of {case.name}")
        parts.append(element("figure", joined([image, caption])))
    if report.results is not None and report.results.scores and not one:
        summary = element("summary", f"All {len(report.results.cases)} cases")
        parts.append(element("details", joined([summary, _case_table(report.results)])))
    return joined(parts)


def _case_table(results: Results) -> Html:
    header = ["case", "class", "Dice", "IoU", "HD95 (mm)", "ASSD (mm)", "surface Dice", "predicted (ml)", "truth (ml)"]
    rows = [
        [
            score.case,
            score.label,
            number(score.dice, 3),
            number(score.iou, 3),
            number(score.hd95_mm, 2),
            number(score.assd_mm, 2),
            number(score.nsd, 3),
            number(score.prediction_ml, 3),
            number(score.truth_ml, 3),
        ]
        for score in results.scores
    ]
    return table(header, rows, "numbers")


def _training_section(report: ReportInput) -> Html:
    training, validation = read_log(report.training_log), read_log(report.validation_log)
    timing = read_log(report.timing_log) or training
    png = training_curves_png(training, validation, timing)
    return Html("") if png is None else picture(png, "Training loss, validation Dice and learning rate by step")


def _citation_section(report: ReportInput) -> Html:
    rows = [
        ("data", report.plan.dataset),
        ("licence of the data", report.data_licence or "not stated; ask whoever gave you the data before sharing it"),
        ("citation of the data", report.citation or "not stated"),
        ("method", _PAPER),
    ]
    return table([], rows, "facts")


def _facts_section(facts: Mapping[str, str]) -> Html:
    return table([], list(facts.items()), "facts") if facts else Html("")
