"""benchmarks/scaling.py: its tables are those of the page, and its formula is that of a ring all-reduce."""

import sys
from pathlib import Path

import pytest

from ganvas.recipes import RECIPES

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import scaling  # noqa: E402


def tables_of_the_page() -> str:
    found = scaling.PLACE.search(scaling.PAGE.read_text(encoding="utf-8"))
    assert found is not None
    return found[0]


@pytest.mark.parametrize("name", ["digits", "cnn", "cnn-stable", "wgan"])
def test_row_of_the_page_is_what_the_code_counts(name: str) -> None:
    counted, page = scaling.count(name), tables_of_the_page()
    assert f"\n{scaling.format_row(name, counted)}\n" in page
    assert f"\n{scaling.format_links(name, counted)}\n" in page


@pytest.mark.exhaustive
def test_tables_of_the_page_are_what_the_script_prints() -> None:
    rounds = {name: scaling.count(name) for name in RECIPES if name not in scaling.LEFT_OUT}
    assert tables_of_the_page() == scaling.make_tables(rounds)


def test_page_has_every_recipe() -> None:
    for name in RECIPES.keys() - set(scaling.LEFT_OUT):
        assert f"\n| `{name}` | " in tables_of_the_page(), name


@pytest.mark.parametrize("bandwidth", scaling.LINKS.values(), ids=scaling.LINKS)
@pytest.mark.parametrize("n", [2, 3, 16])
def test_speed_is_that_of_a_ring_after_the_computation(n: int, bandwidth: float) -> None:
    counted = scaling.Round(parameters=10**6, exchanged=8 * 10**6, flops=3e12, most_gpus=64)
    computing = counted.flops / scaling.FLOPS
    exchanging = 2 * (n - 1) / n * counted.exchanged / bandwidth
    expected = computing / (computing / n + exchanging)
    assert scaling.speedup(n, counted.balance(bandwidth)) == pytest.approx(expected)
    balance = counted.balance(bandwidth)
    assert 2 * (balance - 1) / balance * counted.exchanged / bandwidth == pytest.approx(computing / balance)


def test_number_of_gpus_ends_at_the_batch() -> None:
    counted = scaling.Round(parameters=1, exchanged=4, flops=scaling.FLOPS, most_gpus=32)
    assert scaling.format_gpus(counted, 8 * 32.5) == "(32)"
    assert scaling.format_gpus(counted, 8 * 30.5) == "31"
    assert scaling.count("digits").exchanged == 4 * scaling.count("digits").parameters
