"""The page of `ganvas export --to web` in a real browser, opened from the disk: its images are those of sample."""

import base64
import dataclasses
import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from exported_networks import RECIPE_NAMES, make_sampler
from PIL import Image
from playwright.sync_api import Page, expect
from studio_site import HOSTILE, SETTLED, Watch

from ganvas.drawing import sample_latents
from ganvas.exporting import web_page
from ganvas.exporting.formats import Options
from ganvas.exporting.web_bundle import bundle
from ganvas.latent_space.axes import Directions, directions
from ganvas.latents import walk
from ganvas.networks import Shape
from ganvas.sampling import Sampler

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

NAMES = (HOSTILE, "</script><script>alert(2)</script>", "plain")
START_MS = 120_000


def export_page(sampler: Sampler, path: Path) -> Path:
    (found,) = web_page.write(sampler, path, Options()).files
    return found


@pytest.fixture(scope="module")
def sampler(browser: "Browser") -> Sampler:
    """Three classes of 8×8 images; after the browser, so that nothing is made where there is none."""
    made = make_sampler("cnn", Shape(1, 8, 8, 3))
    made.card = dataclasses.replace(made.card, class_names=NAMES, data={**made.card.data, "name": HOSTILE})
    return made


@pytest.fixture(scope="module")
def found(sampler: Sampler) -> Directions:
    return directions(sampler, method="sefa")


@pytest.fixture(scope="module")
def file(sampler: Sampler, found: Directions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web_page, "directions", lambda *_, **__: found)  # the principal components take seconds
        return export_page(sampler, tmp_path_factory.mktemp("page") / "page.html")


def open_page(browser: "Browser", file: Path, watch: Watch, script: str = "", **options: Any) -> Page:
    """Opens a file in a new context of the browser; `script` runs before those of the page."""
    context = browser.new_context(**{"locale": "en-GB", "reduced_motion": "reduce", **options})
    context.set_default_timeout(START_MS)
    watch.look_at(context)
    page = context.new_page()
    if script:
        page.add_init_script(script)
    page.goto(file.as_uri())
    return page


@pytest.fixture(scope="module")
def opened(browser: "Browser", file: Path) -> Iterator[tuple[Page, Watch]]:
    """One page for all tests, since its runtime takes seconds to start."""
    watch = Watch(file.parent.as_uri())
    page = open_page(browser, file, watch)
    page.wait_for_selector("#viewer:not([hidden])")
    yield page, watch
    page.context.close()


@pytest.fixture
def page(opened: tuple[Page, Watch]) -> Iterator[Page]:
    """Ends with the assertions that hold for every test: nothing left the page, nothing went wrong unseen."""
    page, watch = opened
    yield page
    assert not watch.elsewhere()
    assert not watch.problems


def pixels_of(page: Page, selector: str, drawn: str | None = None) -> np.ndarray:
    """What a canvas shows, uint8 [h w 4]; first it waits until the large one shows what is named."""
    if drawn is not None:
        expect(page.locator("#picture")).to_have_attribute("data-drawn", re.compile(drawn))
    width, height, data = page.eval_on_selector(
        selector,
        """(canvas) => {
            const { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            return [width, height, [...copy.getImageData(0, 0, width, height).data]];
        }""",
    )
    return np.array(data, np.uint8).reshape(height, width, 4)


def assert_same(shown: np.ndarray, image: Any) -> None:
    """An image uint8 [c h w] is what a canvas shows, within 1 of 255."""
    own = np.asarray(image, np.int32).transpose(1, 2, 0)
    assert np.abs(shown[..., : own.shape[2]].astype(np.int32) - own).max() <= 1


def choose(page: Page, seed: int) -> None:
    page.get_by_label("Seed", exact=True).fill(str(seed))


@pytest.mark.parametrize("seed", [7, 0, 1, 41, 2**32 + 7, 2**63 - 1])
def test_seed_draws_the_image_of_sample(seed: int, page: Page, sampler: Sampler) -> None:
    choose(page, seed)
    shown = pixels_of(page, "#picture", f"^seed{seed}-class{seed % 3}$")
    assert_same(shown, sampler.sample([seed])[0])
    expect(page.locator("#caption")).to_have_text(f"seed {seed} · class {NAMES[seed % 3]}")


@pytest.mark.parametrize("wrong", ["", "-1", "seven", "1.5", str(2**63), "1e3"])
def test_what_is_no_seed_is_explained_and_draws_nothing(wrong: str, page: Page) -> None:
    choose(page, 7)
    pixels_of(page, "#picture", "^seed7")
    box = page.get_by_label("Seed", exact=True)
    box.fill(wrong)
    expect(box).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#seed-problem")).to_contain_text("9,223,372,036,854,775,807")
    expect(page.locator("#picture")).to_have_attribute("data-drawn", re.compile("^seed7-"))
    box.fill(" 8 ")
    expect(box).not_to_have_attribute("aria-invalid", "true")
    expect(page.locator("#seed-problem")).to_be_empty()


def test_class_and_truncation_by_keyboard_and_the_saved_file(page: Page, sampler: Sampler) -> None:
    choose(page, 7)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Next seed")).to_be_focused()
    button = page.get_by_role("button", name="plain", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    slider = page.get_by_role("slider", name="Truncation")
    slider.press("ArrowLeft")
    for _ in range(5):
        slider.press("ArrowLeft")
    image = sampler.sample([7], label=2, truncation=0.7)[0]
    assert_same(pixels_of(page, "#picture", "^seed7-class2-truncation0.7$"), image)
    with page.expect_download() as started:
        page.get_by_role("button", name="Save PNG").click()
    assert started.value.suggested_filename == "page-seed7-class2-truncation0.7.png"
    saved = Image.open(io.BytesIO(Path(started.value.path()).read_bytes()))
    assert saved.mode == "L"
    assert (np.asarray(saved) == pixels_of(page, "#picture")[..., 0]).all()
    slider.press("End")
    page.get_by_role("button", name="by the seed").click()
    pixels_of(page, "#picture", "^seed7-class1$")


def test_map_moves_along_the_directions_that_are_found(page: Page, sampler: Sampler, found: Directions) -> None:
    choose(page, 5)
    start = sampler.latents([5])

    def moved(across: float, up: float) -> Any:
        return sampler.draw(found.move(found.move(start, 0, [across]), 1, [up]))[0]

    page.get_by_role("slider", name="Across: Direction 1").press("ArrowRight")
    page.get_by_role("slider", name="Upwards: Direction 2").press("Home")
    assert_same(pixels_of(page, "#picture", r"moved0.1_-3.0$"), moved(0.1, -3))
    pad = page.locator("#map-pad").bounding_box()
    assert pad is not None
    page.mouse.move(pad["x"] + pad["width"] / 2, pad["y"] + pad["height"] / 2)
    page.mouse.down()
    page.mouse.move(pad["x"] + pad["width"], pad["y"] - 40)
    page.mouse.up()
    assert_same(pixels_of(page, "#picture", r"moved3.0_3.0$"), moved(3, 3))
    page.get_by_role("button", name="Back to the middle").click()
    assert_same(pixels_of(page, "#picture", "^seed5-class2$"), sampler.sample([5])[0])
    expect(page.locator("#map-picture")).to_have_attribute("data-drawn", "seed5-class2")
    grid = pixels_of(page, "#map-picture")
    n = len(grid) // 8
    places = [3 * (2 * (i + 0.5) / n - 1) for i in range(n)]
    for x, y in ((n // 2, n // 2), (0, 0), (n - 1, 0), (2, n - 2)):
        assert_same(grid[8 * y : 8 * y + 8, 8 * x : 8 * x + 8], moved(places[x], -places[y]))


def test_seeds_to_choose_from_have_their_images(page: Page, sampler: Sampler) -> None:
    page.get_by_role("button", name="Seeds after these").click()
    expect(page.locator("#seeds")).to_have_attribute("data-drawn", "24")
    for i in (0, 11, 23):
        assert_same(pixels_of(page, f"#seeds li:nth-child({i + 1}) canvas"), sampler.sample([24 + i])[0])
    page.get_by_role("button", name="Seed 30", exact=True).click()
    assert_same(pixels_of(page, "#picture", "^seed30-"), sampler.sample([30])[0])
    expect(page.get_by_role("button", name="Seed 30", exact=True)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Seeds before these").click()


def test_walk_goes_from_seed_to_seed_and_stops(page: Page, sampler: Sampler) -> None:
    choose(page, 3)
    pixels_of(page, "#picture", "^seed3")
    page.emulate_media(reduced_motion="no-preference")
    page.get_by_role("button", name="Walk").click()
    expect(page.locator("#picture")).to_have_attribute("data-drawn", re.compile(r"^seed3-4-[2-9]\d-"))
    page.get_by_role("button", name="Pause").click()
    page.emulate_media(reduced_motion="reduce")
    expect(page.locator("#picture")).to_have_attribute("data-settled", "1")
    drawn = page.locator("#picture").get_attribute("data-drawn") or ""
    percent = int(drawn.split("-")[2])
    assert drawn.startswith("seed3-4-")
    frames = next(iter(walk(sampler.latents([3, 4], label=0), 1000, easing="linear", loop=False, step=1000)))
    near = np.asarray(sampler.draw(frames[10 * percent - 6 : 10 * percent + 7]), int)[:, 0]
    shown = pixels_of(page, "#picture")[..., 0].astype(int)
    assert np.abs(near - shown).max((1, 2)).min() <= 2
    choose(page, 9)
    pixels_of(page, "#picture", "^seed9-class0$")
    page.get_by_role("button", name="by the seed").click()


def test_names_are_text_and_axe_finds_nothing_serious_in_light_and_dark(page: Page) -> None:
    assert page.title() == f"cnn · {HOSTILE}"
    expect(page.get_by_role("heading", level=1)).to_have_text(f"cnn · {HOSTILE}")
    expect(page.get_by_role("button", name=NAMES[1], exact=True)).to_be_visible()
    assert page.locator("img[src='x']").count() == 0
    severe = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.evaluate(SETTLED)
        answer = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response
        severe += [(theme, one["id"], one["nodes"][0]["html"]) for one in answer["violations"]]
    assert not severe


def test_narrow_page_in_french_and_the_notices(page: Page) -> None:
    page.set_viewport_size({"width": 380, "height": 800})
    fits(page)
    page.get_by_label("Language").select_option("fr")
    expect(page.get_by_role("button", name="Enregistrer (PNG)")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "fr"
    fits(page)
    page.get_by_label("Langue").select_option("en")
    page.get_by_text("Licence of the runtime").click()
    page.get_by_text("Notices of what the runtime contains").click()
    expect(page.locator("#notices-text")).to_contain_text("THIRD PARTY SOFTWARE NOTICES")
    page.set_viewport_size({"width": 1280, "height": 720})


def fits(page: Page) -> None:
    """Nothing is wider than 380 pixels, also where what is too wide is cut off."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    rights = page.eval_on_selector_all(
        "main button:not(.class-chip), main input, main select, main canvas",
        "(found) => found.map((one) => [one.id, one.getBoundingClientRect().right])",
    )
    assert not [one for one in rights if one[1] > 380 - 16]


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("delete globalThis.DecompressionStream", "cannot unpack gzip"),
        ("delete globalThis.WebAssembly", "no WebAssembly"),
        ("WebAssembly.validate = () => false", "no SIMD"),
        ("WebAssembly.instantiate = async () => { throw new RangeError('out of memory') }", "out of memory"),
    ],
)
def test_browser_that_cannot_run_it_is_told_so(lacking: str, said: str, browser: "Browser", file: Path) -> None:
    file = without_runtime(file)
    page = open_page(browser, file, Watch(file.parent.as_uri()), script=lacking)
    expect(page.get_by_role("alert").first).to_contain_text(said)
    expect(page.get_by_role("alert").first).to_contain_text("browser")
    expect(page.locator("#start")).to_be_hidden()
    page.context.close()


def without_runtime(file: Path) -> Path:
    """A copy that loads faster, for what fails before the runtime is needed."""
    light = file.with_name("light.html")
    packed = base64.b64encode(gzip.compress(b"")).decode()
    text = re.sub(r'(id="runtime">)[^<]*', rf"\g<1>{packed}", file.read_text(encoding="utf-8"))
    light.write_text(text, encoding="utf-8")
    return light


def test_latents_are_those_of_pytorch(browser: "Browser") -> None:
    """Also of sizes below 16, and no multiples of 16, which PyTorch makes in other ways."""
    sizes = [1, 2, 7, 15, 16, 17, 31, 32, 100, 128, 512]
    seeds = [*range(12), 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 7, 2**53 + 1, 2**63 - 1]
    page = browser.new_page()
    script = (
        "([sizes, seeds]) => {"
        + bundle("rng.js")
        + ("return sizes.map((size) => seeds.map((seed) => [...latentOf(BigInt(seed), size)])); }")
    )
    answer = page.evaluate(script, [sizes, [str(seed) for seed in seeds]])
    page.close()
    for size, own in zip(sizes, answer, strict=True):
        difference = torch.tensor(own, dtype=torch.float64) - sample_latents(seeds, size)
        assert float(difference.abs().max()) < 1e-6, size


@pytest.mark.exhaustive
@pytest.mark.parametrize("recipe", RECIPE_NAMES)
@pytest.mark.parametrize("shape", [Shape(3, 25, 40, 3), Shape(1, 12, 9)], ids=["colour", "grey"])
def test_every_recipe_draws_its_images(recipe: str, shape: Shape, browser: "Browser", tmp_path: Path) -> None:
    sampler = make_sampler(recipe, shape)
    watch = Watch(tmp_path.as_uri())
    page = open_page(browser, export_page(sampler, tmp_path / "page.html"), watch)
    page.wait_for_selector("#viewer:not([hidden])")
    for seed in (7, 20):
        choose(page, seed)
        assert_same(pixels_of(page, "#picture", f"^seed{seed}(-|$)"), sampler.sample([seed])[0])
    page.get_by_role("slider", name="Truncation").press("Home")
    assert_same(pixels_of(page, "#picture", "truncation0$"), sampler.sample([20], truncation=0)[0])
    page.context.close()
    assert not watch.elsewhere()
    assert not watch.problems
