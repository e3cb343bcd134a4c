"""What a terminal and a notebook show of every result: complete, escaped, quick, and never an exception."""

import copy
import dataclasses
import io
import pickle
import re
import shutil
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import tiny
from test_imports import SLOW, modules_after
from torch import nn

import ganvas
from ganvas.comparison.comparison import Comparison
from ganvas.config import TrainConfig, replace
from ganvas.data import inspect
from ganvas.data.inspection import DataReport
from ganvas.diagnosis.diagnosis import Diagnosis, Finding
from ganvas.display import IMAGE_WIDTH, TEXT_WIDTH, Displayed, InlineImage, Paragraph, Table, image_url
from ganvas.errors import GanvasError
from ganvas.evaluation.measures import Value
from ganvas.evaluation.memorisation import Memorisation
from ganvas.evaluation.result import Evaluation
from ganvas.recipes import RECIPES, Recipe
from ganvas.runs import log
from ganvas.runs.folder import Run
from ganvas.samples import Samples
from ganvas.style.images import StyleImage
from ganvas.style.transfer import Iterate
from ganvas.training.start import train

EVIL = "<script>alert('D & G')</script>\x1b[31m\udcff"


class Page(HTMLParser):
    """The elements and the text of a page; asserts that it is balanced and asks for nothing."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open
        page.encode()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in ("div", "table", "tr", "td", "th", "b", "a", "figure", "img", "figcaption")
        self.found.append(tag)
        for name, value in attributes:
            assert name in ("style", "src", "alt", "href", "target")
            assert name != "src" or str(value).startswith("data:image/webp;base64,")
            assert name != "href" or ":" not in str(value), "a link to a file"
            assert name != "style" or not re.search("color|url", str(value))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def show(result: Displayed) -> tuple[str, Page]:
    """The text and the HTML of a result, which are within their bounds."""
    began = time.process_time()
    text, page = repr(result), result._repr_html_()
    assert time.process_time() - began < 2, "0.5 s, on a machine that does nothing else"
    assert "\x1b" not in text + page
    assert len(page) < 400_000
    text.encode()
    lines = text.splitlines()
    assert len(lines) == 1 or max(map(len, lines)) <= TEXT_WIDTH
    return text, Page(page)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(replace(tiny(), conditional=True, plot=True), out=tmp_path_factory.mktemp("runs"), quiet=True)


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    """A copy of the run, to be damaged."""
    return Run(shutil.copytree(run.path, tmp_path / "run"))


def test_run_shows_its_state_its_grid_and_its_curves(run: Run) -> None:
    text, page = show(run)
    assert "\n" not in text
    for part in (str(run.path), "config (mlp)", "digits (1,400 images of 8×8×1)", "0.2 of 0.2", "complete"):
        assert part in text
        assert part in page.text
    assert page.found.count("img") == 2
    assert "losses.png" in page.text
    assert str(run) == f"{run}" == str(run.path)


def damage_nothing_written(run: Run) -> None:
    for path in (*run.path.glob("*.png"), *run.path.glob("*.jsonl")):
        path.unlink()


def unsave(run: Run) -> None:
    shutil.rmtree(run.path / "snapshots")
    (run.path / "stats.jsonl").write_bytes(b'{"nimg": 100}\n{"nimg": 2\xff')


DAMAGE: list[tuple[Callable[[Run], Any], str]] = [
    (lambda run: shutil.rmtree(run.path), "state is not a run folder (no config.json)"),
    (lambda run: (run.path / "config.json").unlink(), "state is not a run folder (no config.json)"),
    (lambda run: (run.path / "config.json").write_text("{"), "state config.json is damaged (it is no JSON"),
    (lambda run: (run.path / "config.json").write_text("[]"), "state config.json is damaged (it is []"),
    (lambda run: (run.path / "config.json").write_text('{"format": 2}'), "config.json is damaged (it has no 'recipe'"),
    (lambda run: (run.latest_snapshot / "card.json").write_text("{"), "card.json is damaged"),
    (lambda run: (run.latest_snapshot / "card.json").write_text("[]"), "card.json is damaged"),
    (lambda run: (run.latest_snapshot / "G.safetensors").write_bytes(b""), "G.safetensors is damaged"),
    (damage_nothing_written, "0.2 of 0.2, state complete"),
    (lambda run: (run.path / "stats.jsonl").write_text('{"nimg": "x"}'), "0.2 of 0.2, state complete"),
    (unsave, "0.1 of 0.2, state unfinished"),
    (lambda run: (run.path / "events.jsonl").write_text('{"event": "non-finite"}'), "complete"),
    (lambda run: run.grids[-1].write_bytes(run.grids[-1].read_bytes()[:99]), "complete"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE, ids=range(len(DAMAGE)))
def test_damaged_run_says_so(damage: Callable[[Run], Any], words: str, copied: Run) -> None:
    damage(copied)
    text, page = show(Run(copied.path))
    assert words in text
    assert words.rpartition("state ")[2] in page.text
    assert text.count(str(copied.path)) == 1


def test_damaged_grid_is_named(copied: Run) -> None:
    copied.grids[-1].write_bytes(b"\x89PNG\r\n\x1a\n")
    assert f"{copied.grids[-1].name} cannot be read" in show(copied)[1].text


def test_run_without_a_folder_is_escaped(tmp_path: Path) -> None:
    text, page = show(Run(tmp_path / EVIL))
    assert "is not a run folder" in text
    assert "<script>alert" in page.text


def test_run_is_shown_without_torch(run: Run) -> None:
    code = f"from ganvas import Run; run = Run({str(run.path)!r}); assert 'complete' in repr(run) + run._repr_html_()"
    assert not SLOW & modules_after(code)


def test_progress_reads_the_end_of_a_long_log(copied: Run) -> None:
    lines = "".join(f'{{"nimg": {i}, "seconds": 2, "pad": "{"x" * 5000}"}}\n' for i in range(100))
    (copied.path / "stats.jsonl").write_text(lines + '{"nimg": 10')
    assert len(lines) > log.TAIL_BYTES
    shutil.rmtree(copied.path / "snapshots")
    assert copied.progress()["nimg"] == 99
    assert copied.progress()["images_per_s"] == 49.5
    assert copied.progress()["state"] == "unfinished"
    assert log.read_last(copied.path / "none") == {}


def test_sampler_shows_the_grid_of_its_snapshot(run: Run, copied: Run) -> None:
    sampler = ganvas.load(run)
    text, page = show(sampler)
    assert text == f"Sampler({run.latest_snapshot}: 8×8×1, 10 classes, cpu)"
    assert "img" in page.found
    sampler = ganvas.load(copied)
    copied.grids[-1].unlink()
    assert "img" not in show(sampler)[1].found


def test_samples_are_an_array_with_a_grid(run: Run) -> None:
    samples = ganvas.load(run).sample(range(25))
    assert isinstance(samples, Samples)
    assert samples.labels is not None
    assert samples.labels.tolist() == [seed % 10 for seed in range(25)]
    text, page = show(samples)
    assert text == str(samples) == "Samples(25 images, 8×8×1, 10 of 10 classes: uint8 [25, 1, 8, 8])"
    assert "img" in page.found
    grid = samples.grid()  # a class a row: 3 of classes 0 to 4, 2 of the others
    assert grid.height == 4 + 10 * 68
    cells = np.asarray(grid)[4:, grid.width - 3 * 68 :]
    assert np.array_equal(cells[:64:8, :64:8], samples[0, 0])
    assert np.array_equal(cells[68:132:8, 68:132:8], samples[11, 0])
    assert (cells[5 * 68 : 5 * 68 + 64, 2 * 68 : -4] == 255).all(), "blank"
    assert samples.grid(columns=5, scale=1).size == (2 + 5 * 10, 2 + 5 * 10)
    with Image.open(io.BytesIO(samples._repr_png_() or b"")) as image:
        assert image.size == grid.size
    assert isinstance(ganvas.load(run).sample(seeds=[1]), Samples)


def test_samples_of_an_unconditional_generator() -> None:
    samples = ganvas.load(train(tiny(), quiet=True)).sample(seeds=range(9))
    assert samples.labels is None
    assert show(samples)[0] == "Samples(9 images, 8×8×1: uint8 [9, 1, 8, 8])"
    assert samples.grid().size == (4 + 3 * 68, 4 + 3 * 68)


def make_samples(n: int = 6, channels: int = 3, size: int = 8) -> Samples:
    images = np.random.default_rng(0).integers(0, 256, (n, channels, size, size), np.uint8)
    return Samples(images, np.arange(n) % 2, (EVIL, "b"))


def test_labels_without_names_go_by_their_numbers() -> None:
    images = np.zeros((3, 1, 8, 8), np.uint8)
    samples = Samples(images, [2, 0, 2])
    assert show(samples)[0] == "Samples(3 images, 8×8×1, 2 classes: uint8 [3, 1, 8, 8])"
    named = Samples(images, np.array([2, 0, 2]), ("0", "1", "2"))
    assert np.array_equal(np.asarray(samples.grid()), np.asarray(named.grid()))
    assert samples[[0, 2]].labels.tolist() == [2, 2]
    wrong: list[Any] = [[0.0, 1.0, 2.0], ["a", "b", "c"], [0, 1], [[0], [1], [2]], [[0], [1, 2], [3]], [True] * 3, 3]
    for labels in wrong:
        with pytest.raises(GanvasError, match="labels is"):
            Samples(images, labels)


@pytest.mark.parametrize(
    "select",
    [
        lambda x: x[2:4], lambda x: x[[5, 1]], lambda x: x[x.labels == 1], lambda x: x[::-1], lambda x: x[...],
        lambda x: x[:, ::-1], lambda x: x.copy(), copy.deepcopy,
    ],
)  # fmt: skip
def test_selected_images_are_samples_with_their_labels(select: Callable[[Any], Any]) -> None:
    samples = make_samples()
    chosen = select(samples)
    assert type(chosen) is Samples
    assert chosen.labels is not None
    for image, label in zip(chosen, chosen.labels, strict=True):
        original = next(i for i, each in enumerate(samples) if np.array_equal(np.sort(each, 0), np.sort(image, 0)))
        assert samples.labels is not None
        assert samples.labels[original] == label


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[0], lambda x: x[:, :2], lambda x: x[:, :, 2:], lambda x: x[None], lambda x: x / 255,
        lambda x: x.mean(0), lambda x: x > 3, lambda x: x.astype(np.float32), lambda x: x.reshape(6, -1),
        lambda x: x.transpose(0, 2, 3, 1), lambda x: x.T, np.transpose, lambda x: np.moveaxis(x, 1, -1), np.ravel,
        lambda x: np.clip(x, 3, 9), lambda x: np.std(x, axis=0), lambda x: torch.from_numpy(x).numpy(),
    ],
)  # fmt: skip
def test_every_other_result_is_a_plain_array(change: Callable[[Any], Any]) -> None:
    changed, samples = change(make_samples()), make_samples()
    assert type(changed) is np.ndarray
    assert np.array_equal(changed, change(np.asarray(samples)))
    assert type(samples.mean()) is np.float64
    assert type(samples.max()) is np.uint8


def test_samples_that_are_no_images_are_shown_as_an_array() -> None:
    text, page = show(make_samples().view(np.int8))  # type: ignore[arg-type]
    assert text.startswith("array([[[[")
    assert "img" not in page.found
    assert make_samples().view(np.int8)._repr_png_() is None  # type: ignore[attr-defined]
    for wrong in ({"columns": 0}, {"scale": 0}):
        with pytest.raises(GanvasError, match="is 0"):
            make_samples().grid(**wrong)
    with pytest.raises(GanvasError, match="has no grid"):
        make_samples()[:0].grid()
    assert show(make_samples()[:0])[0].startswith("Samples(0 images")
    assert isinstance(pickle.loads(pickle.dumps(make_samples())), Samples)


@pytest.mark.parametrize(("n", "size", "shown"), [(1000, 8, 64), (3, 1024, 2)])
def test_many_or_large_samples_are_shown_in_part(n: int, size: int, shown: int) -> None:
    samples = make_samples(n, 3, size)
    assert f"the first {shown}" in show(samples)[1].text
    assert len(samples._repr_png_() or b"") < 500_000


def make_evaluation(subject: str = EVIL) -> Evaluation:
    protocol = {
        "features": {"extractor": "eye", "weights": EVIL, "resize": "no"},
        "reference": {"count": 9, "data": EVIL, "fingerprint": "f" * 20, "held_out": EVIL},
        "subject": {"count": 9, "seeds": EVIL},
        "versions": {"ganvas": "1"},
    }
    memorisation = Memorisation(1, 2, 0.5, 0.1, 0.5, None, np.zeros((1, 2), np.int64))
    values = {"frechet": Value(3.0, 2.0, 0.1), "kernel": Value(float("nan"))}
    return Evaluation(subject, values, memorisation, protocol, (f"note {EVIL}",), np.zeros((4, 3, 8, 8), np.uint8))


def test_evaluation_shows_values_beside_their_baseline_and_the_closest_pairs() -> None:
    text, page = show(make_evaluation())
    row = next(line for line in text.splitlines() if "Fréchet" in line)
    assert row.split()[-4:] == ["3.00", "0.100", "2.00", "1.50"]
    assert "img" in page.found
    assert page.text.count("<script>") >= 5
    assert "Nearest training images" in text


def make_finding() -> Finding:
    return Finding("mode collapse", "failure", EVIL, "G", 3.0, "kimg", (EVIL,), (EVIL,), (), "")


def make_comparison(path: Path, grids: Path) -> Comparison:
    summary = {"distance": {"mean": 3.25, "n": 2, "sd": 0.5}, "flops": {"mean": 2e6, "n": 2}}
    results = {
        "verdict": {"sentence": f"b is better {EVIL}", "order": ["b", EVIL]},
        "candidates": [{"name": EVIL}, {"name": "b"}, {"name": "c"}],
        "summaries": [{}, summary, {}],
        "columns": {"flops": "operations", "distance": EVIL},
        "runs": [{"candidate": "b", "seed": 0, "path": str(grids)}, {"candidate": "c", "seed": 0, "path": "none"}],
    }
    return Comparison(path, results)


def test_comparison_shows_its_ranking_and_the_way_to_its_report(run: Run) -> None:
    found = make_comparison(Path(f"a 'b' {EVIL}".replace("\udcff", "")), run.path)
    text, page = show(found)
    assert text.startswith("b is better")
    assert "3.25 ± 0.500" in text
    assert "report.html" in text
    assert page.found.count("img") == page.found.count("a") == 1
    header = re.search(r"<tr><th.*?</tr>", found._repr_html_())
    assert header is not None
    assert header[0].index(">b<") < header[0].index("script") < header[0].index(">c<"), "in the order of the ranking"


def make_iterate(render: Callable[[], StyleImage]) -> Iterate:
    return Iterate(3, 10, 16, 20, 0.5, 0.3, 0.1, 0.1, 4.0, 9.0, render)


def test_style_images_and_iterates_show_their_image() -> None:
    image = StyleImage(np.zeros((3, 16, 20), np.uint8), np.full((16, 20), 9, np.uint8))
    text, page = show(image)
    assert text == "StyleImage(16×20, with opacity)"
    assert "img" in page.found
    text, page = show(make_iterate(lambda: image))
    assert text == "Iterate(3 of 10 at 16×20: loss 0.5 (style 0.3, content 0.1, tv 0.1); 4 s, 9 s left)"
    assert "img" in page.found


def test_probe_shows_its_diagnosis() -> None:
    G, D = nn.Linear(2, 4), nn.Linear(4, 1)
    probe = ganvas.watch(G, D, report=None)
    assert "too early" in show(probe)[0]
    for _ in range(20):
        probe.step(real=torch.randn(8, 4), fake=G(torch.randn(8, 2)), d_loss=0.5)
    text, page = show(probe)
    assert text.startswith("Probe(20 steps")
    assert "D is frozen" in page.text
    probe.close()


def test_configurations_and_recipes_show_every_knob() -> None:
    text, page = show(TrainConfig())
    for knob in ("kimg=500.0", "objective='rpgan'", "batch=", "device='auto'", "g_widths=(128, 256, 512)"):
        assert knob in text.replace("\n" + " " * 18, " ")
        assert knob in page.text
    text, page = show(RECIPES["wgan"])
    assert text == f"Recipe({RECIPES['wgan'].summary}; {RECIPES['wgan'].source})"
    assert "clip=0.01" in page.text


def test_data_report_shows_problems(write_images: Callable[..., Path]) -> None:
    report = inspect(write_images(n=5), quiet=True)
    text, page = show(report)
    assert "Few images: 5" in text
    assert "Few images: 5" in page.text
    assert "<script>" in show(dataclasses.replace(report, name=EVIL))[1].text


def test_findings_and_values_are_shown() -> None:
    text, page = show(make_finding())
    assert text.startswith("Finding(failure: <script>")
    assert "evidence" in page.text
    assert show(Value(12.34, 1.234, 0.4321))[0] == "Value(12.3 ± 0.432 (real-data baseline 1.23))"
    text, page = show(Diagnosis((make_finding(),), {}, 3.0, "kimg"))
    assert "mode collapse" in page.text


def render_nothing() -> StyleImage:
    raise RuntimeError(EVIL)


DAMAGED: list[Callable[[], Displayed]] = [
    lambda: Evaluation(EVIL, {"frechet": Value(1.0)}, None, {}, ()),
    lambda: dataclasses.replace(make_evaluation(), panel=np.zeros((4, 7, 8, 8), np.uint8)),
    lambda: Diagnosis((None,), {}, 0.0, "step"),  # type: ignore[arg-type]
    lambda: dataclasses.replace(make_finding(), fixes=None, evidence=None),
    lambda: Comparison(Path("x"), {}),
    lambda: StyleImage(np.zeros(3)),
    lambda: make_iterate(render_nothing),
    lambda: Value(None),  # type: ignore[arg-type]
    lambda: dataclasses.replace(RECIPES["mlp"], config=None),
    lambda: object.__new__(Run),
    lambda: object.__new__(TrainConfig),
    lambda: object.__new__(ganvas.Sampler),
    lambda: object.__new__(ganvas.Probe),
    lambda: object.__new__(DataReport),
]


@pytest.mark.parametrize("make", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_result_is_shown_without_an_exception(make: Callable[[], Displayed]) -> None:
    result = make()
    text, page = show(result)
    name = type(result).__name__
    assert f"<{name} that cannot be shown: " in text + page.text


PUBLIC = [
    ganvas.Comparison, ganvas.Diagnosis, ganvas.Evaluation, ganvas.Finding, ganvas.Iterate, ganvas.Probe, ganvas.Run,
    ganvas.Sampler, ganvas.StyleImage, ganvas.TrainConfig, ganvas.Value, Recipe, DataReport, Samples,
]  # fmt: skip


@pytest.mark.parametrize("kind", PUBLIC)
def test_every_public_result_is_displayed(kind: type) -> None:
    assert kind.__repr__ is Displayed.__repr__  # a dataclass would write its own
    assert kind._repr_html_ is Displayed._repr_html_  # type: ignore[attr-defined]


def test_images_are_reduced(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2000, 3000, 3), np.uint8)
    assert len(image_url(Image.fromarray(noise))) < 400_000
    tall = image_url(Image.new("L", (10, 20_000)))
    assert tall
    assert IMAGE_WIDTH == 560
    (tmp_path / "x.png").write_text("no image")
    assert image_url(tmp_path / "x.png") == ""


def test_parts_are_escaped() -> None:
    for part in (
        Paragraph(EVIL, "bold dim", link=Path("a'b<>")),
        Table([(EVIL, EVIL)]),
        Table([(EVIL, EVIL)], (EVIL, EVIL)),
        InlineImage(Image.new("L", (8, 8)), EVIL + "'><script>"),
    ):
        assert "script" not in Page(part.html()).found
