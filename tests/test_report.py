"""The report: every number is that of the JSON, nothing is fetched or run, names are escaped, images are described."""

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_ranking import rows

from ganvas.comparison import ranking, summary
from ganvas.comparison.figures import draw_figures
from ganvas.comparison.report import format_number_at, render_report

EVIL = "a <script>alert('1')</script> \"b\" $x_1$ & c"
UNDERLINED = "_hidden $"


class Page(HTMLParser):
    """A parsed page: its tags, its marked numbers, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.numbers: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag == "span" and "data-path" in attributes:
            self.numbers.append((attributes["data-path"], attributes["data-format"], data))
            self.tags.append(("", {}))


def results(names: list[str], seeds: int = 3) -> dict[str, Any]:
    """Invented results of a comparison: distances, curves, a grid of images, an imported run."""
    runs = rows(**{name: [4.0 + i + 0.3 * seed for seed in range(seeds)] for i, name in enumerate(names)})
    for run in runs:
        x = [0.1 * i for i in range(1, 11)]
        curve = {"kimg": x, "seconds": x, "mean": [5 - v for v in x]}
        curves = ("quality", "D/loss", "G/loss", "D/real", "D/fake", "D/updates", "G/updates")
        run["curves"] = dict.fromkeys(curves, curve)
        run["path"] = str(Path("runs", f"{names.index(run['candidate'])}-{run['seed']}"))
        run["evaluation"]["images"] = "judged"
        Path(run["path"]).mkdir(parents=True)
        Image.fromarray(np.zeros((80, 160), np.uint8)).save(Path(run["path"]) / "fakes000001.png")
    cost = {"parameters": {"G": 1234567, "D": 99}, "flops_per_image": {"G": 1, "D": 1, "training": 5e6}}
    candidates = [{"name": name, "recipe": name, "summary": EVIL, "config": {}, **cost} for name in names]
    found = ranking.rank(names, runs)
    summaries, columns = summary.summarise(candidates, runs, found.metric)
    imported = {
        "name": EVIL,
        "source": EVIL,
        "values": {"fid/<b>": 7.25},
        "best": {"fid/<b>": [7.25, 200.0]},
        "details": {EVIL: EVIL},
    }
    report = {
        "title": " against ".join(names), "verdict": found.to_json(), "aspects": ranking.compare_aspects(names, runs),
        "summaries": summaries, "columns": columns, "best": summary.best_candidates(summaries, bool(found.order)),
        "budget": {"kind": "kimg", "amount": 1}, "settings": {"count": 200, "extractor": "eye"},
        "candidates": candidates,
        "runs": runs, "differing_knobs": [{"knob": "objective", "values": dict.fromkeys(names, EVIL)}],
        "datasets": [{"name": EVIL, "images": 1400, "fingerprint": "f"}], "imported": [imported],
        "reproduce": {"command": EVIL, "versions": {"ganvas": "1", "torch": "2", "python": "3"}},
    }  # fmt: skip
    return json.loads(json.dumps(report))


def look_up(value: Any, path: str) -> Any:
    for step in path.split("/"):
        value = value[int(step) if isinstance(value, list) else step.replace("~1", "/")]
    return value


@cache
def render(*names: str) -> tuple[dict[str, Any], str, Page]:
    """The results of these candidates, their report, and the parsed page: once for all tests, which only read them."""
    report = results(list(names))
    html = render_report(report, Path("judged"))
    return report, html, Page(html)


@pytest.mark.slow
@pytest.mark.parametrize("names", [["cnn", "mlp"], [EVIL, UNDERLINED, "x" * 90, "d", "e"]])
def test_every_number_is_that_of_the_json(names: list[str]) -> None:
    report, html, page = render(*names)
    assert len(page.numbers) > 35 * len(names)
    assert len(page.numbers) == html.count("data-path=")
    for path, form, text in page.numbers:
        assert text == summary.FORMATTERS[form](look_up(report, path)), path
    stray = re.sub(
        r"<svg.*?</svg>|<style.*?</style>|<span data-path.*?</span>|<pre>.*?</pre>", "", html, flags=re.DOTALL
    )
    assert {"1.23 M", "4.30"} <= {text for *_, text in page.numbers}
    assert "1.23" not in stray


def test_nothing_is_fetched_or_run_and_every_image_is_described() -> None:
    _, html, page = render(EVIL, UNDERLINED)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "b", "i"}
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:image/")), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    assert "@import" not in html
    assert any("default-src 'none'" in a.get("content", "") for tag, a in page.tags if tag == "meta")
    grids = [a for tag, a in page.tags if tag == "img"]
    figures = [a for _, a in page.tags if a.get("role") == "img"]
    assert len(grids) == 6, "one grid for each seed"
    assert len(figures) == sum(tag == "svg" for tag, _ in page.tags) == 4
    assert all(EVIL in a["alt"] or UNDERLINED in a["alt"] for a in grids)
    assert all(EVIL in a["aria-label"] for a in figures)


def test_names_are_escaped_everywhere() -> None:
    _, html, page = render(EVIL, UNDERLINED)
    assert page.text.count(EVIL) > 20
    assert "<script" not in html
    svg = Page("".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)))
    assert svg.text.count("alert('1')") >= 4, "in the figures too: neither markup nor mathematics"
    assert svg.text.count(UNDERLINED) >= 4


def test_every_text_of_a_run_is_escaped() -> None:
    report = results([EVIL, UNDERLINED])
    for i, run in enumerate(report["runs"]):
        run["problem"], run["data"] = f"problem {EVIL}", {**(run.get("data") or {}), "name": f"data {EVIL}"}
        failures = [{"name": f"failure {EVIL}", "since": 1, "unit": f"unit {EVIL}"}] if i else []
        run["diagnosis"] = {"failures": failures, "verdict": f"verdict {EVIL}"}
        protocol = run["evaluation"].setdefault("protocol", {})
        protocol["independence"] = {"sentence": f"independence {EVIL}"}
        protocol[EVIL] = f"protocol {EVIL}"
    for candidate in report["candidates"]:
        candidate["command"] = f"command {EVIL}"
    report["settings"]["features"] = f"features {EVIL}"
    page = Page(html := render_report(report, Path("judged")))
    assert "<script" not in html
    for kind in ("problem", "data", "failure", "unit", "verdict", "independence", "command", "features"):
        assert f"{kind} {EVIL}" in page.text, kind


def test_figures_need_no_colour_and_inherit_the_text_colour() -> None:
    _, html, _ = render("cnn", "mlp")
    svg = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert "stroke-dasharray" in svg
    assert "currentColor" in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#ffffff"}


def test_figures_of_many_candidates_have_the_best_or_those_with_trainings() -> None:
    names = list("abcdefghi")
    report = results(names, seeds=1)
    for run in report["runs"]:
        run["curves"] = {"quality": run["curves"]["quality"]} if run["candidate"] == "i" else {}
    assert "quality" not in draw_figures(report), "only the ninth has a curve"
    report["verdict"]["order"] = names[::-1]
    figures = draw_figures(report)
    assert figures["quality"].alt.endswith("i ends at 4.")
    assert re.findall(r"(\w): [\d.]+", figures["distance"].alt) == names[1:], "the winner is drawn"
    assert figures["distance"].caption.endswith(" The best 8 of the 9 candidates are drawn.")
    report |= {"verdict": {**report["verdict"], "order": []}, "runs": report["runs"][8:], "aspects": []}
    assert draw_figures(report).keys() == {"distance", "quality", "losses"}, "as before the first training of recipes"


def test_unranked_report_marks_no_best_candidate() -> None:
    names = ["cnn", "mlp"]
    report = results(names)
    for run in report["runs"][3:]:
        run |= {"nimg": 2000, "seconds": 99.0, "flops": 7e9}
    found = ranking.rank(names, report["runs"])
    report |= {"verdict": found.to_json(), "best": summary.best_candidates(report["summaries"], bool(found.order))}
    report["aspects"] = ranking.compare_aspects(names, report["runs"])
    html = render_report(report, Path("judged"))
    assert "only rows of cost are marked" not in html, "all costs are equal"
    assert 'class="verdict unranked">Not ranked: the training budgets differ' in html
    assert ">Significance<" not in html
    assert "significant" not in re.sub(r"<pre>.*?</pre>", "", html, flags=re.DOTALL)
    assert 'class="best"' not in html


def test_imported_runs_alone_give_a_report() -> None:
    report = results(["cnn", "mlp"])
    found = ranking.rank([], [])
    empty: dict[str, Any] = {
        key: [] for key in ("aspects", "summaries", "candidates", "runs", "differing_knobs", "datasets")
    }
    html = render_report({**report, **empty, "columns": {}, "best": {}, "verdict": found.to_json()}, Path("judged"))
    assert "7.25" in html
    assert ">Summary<" not in html


def test_unknown_number_is_a_dash() -> None:
    assert format_number_at({"a": [None]}, "a/0", "number") == "–"
    assert format_number_at({"a": [{"<b>": 2.0}]}, "a/0/<b>", "number") == (
        '<span data-path="a/0/&lt;b&gt;" data-format="number">2</span>'
    )


def test_start_of_a_failure_is_a_number_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.comparison.figures.draw_figures", lambda _: {})
    found = results(["cnn", "mlp"])
    found["runs"][0]["diagnosis"]["failures"] = [{"name": "not finite", "since": 0.4, "unit": "kimg"}]
    page = Page(render_report(found, Path("evaluations")))
    assert ("runs/0/diagnosis/failures/0/since", "plain", "0.4") in page.numbers
