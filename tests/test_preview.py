"""The images under the progress bar: what each protocol sends, and what is then on the screen."""

import base64
import fcntl
import io
import os
import re
import select
import struct
import sys
import termios
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from support import Fork

from ganvas import preview
from ganvas.cli import main
from ganvas.preview import Preview, Protocol, choose_protocol, encode_sixel, render
from ganvas.progress import ProgressBar
from ganvas.runs.folder import Run
from ganvas.training.progress import ProgressReporter

ROWS, COLUMNS = 24, 80


def random_images(n: int = 8, height: int = 8, width: int = 8, mode: str = "RGB") -> list[Image.Image]:
    rng = np.random.default_rng(0)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return [Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode) for _ in range(n)]


class Screen:
    """A terminal that understands what the bar and the preview send; a cell is (character, its SGR codes)."""

    def __init__(self, rows: int = ROWS, columns: int = COLUMNS) -> None:
        self.rows, self.columns, self.y, self.x, self.saved, self.codes = rows, columns, 0, 0, (0, 0), ""
        self.cells = [self.blank() for _ in range(rows)]

    def blank(self) -> list[tuple[str, str]]:
        return [(" ", "")] * self.columns

    def feed(self, text: str) -> None:
        for part in re.findall(
            r"\x1b_.*?\x1b\\|\x1bP.*?\x1b\\|\x1b\].*?\a|\x1b\[[?0-9;]*[A-Za-z]|\x1b[78]|.", text, re.S
        ):
            self.obey(part)

    def obey(self, part: str) -> None:
        if part == "\r":
            self.x = 0
        elif part == "\n":
            self.y, self.x = self.y + 1, 0
            if self.y == self.rows:
                self.y, self.cells = self.y - 1, [*self.cells[1:], self.blank()]
        elif part == "\x1b7":
            self.saved = self.y, self.x
        elif part == "\x1b8":
            self.y, self.x = self.saved
        elif part.startswith("\x1b["):
            number, kind = part[2:-1], part[-1]
            if kind == "m":
                self.codes = number
            elif kind == "A":
                self.y = max(0, self.y - int(number or 1))
            elif kind == "K":
                self.cells[self.y] = self.blank()
            elif kind == "J":
                self.cells[self.y][self.x :] = self.blank()[self.x :]
                self.cells[self.y + 1 :] = [self.blank() for _ in self.cells[self.y + 1 :]]
        elif not part.startswith("\x1b"):
            if self.x == self.columns:
                self.obey("\n")
            self.cells[self.y][self.x] = (part, self.codes)
            self.x += 1

    def lines(self) -> list[str]:
        return ["".join(character for character, _ in row).rstrip() for row in self.cells]

    def pixels(self, row: int, column: int, height: int, width: int) -> np.ndarray:
        """The colours of half blocks, [height width 3]."""
        found = np.zeros((height, width, 3), int)
        for y in range(height):
            for x in range(width):
                codes = self.cells[row + y // 2][column + x][1].split(";")
                found[y, x] = [int(code) for code in (codes[2:5] if y % 2 == 0 else codes[7:10])]
        return found


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Console:
    for name in (
        "NO_COLOR",
        "FORCE_COLOR",
        "TMUX",
        "TERM_PROGRAM",
        "KITTY_WINDOW_ID",
        "LC_TERMINAL",
        "COLUMNS",
        "LINES",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    return Console(file=Terminal(), width=COLUMNS, height=ROWS, highlight=False, soft_wrap=True)


def screen_of(console: Console) -> Screen:
    screen = Screen()
    screen.feed(console.file.getvalue())  # type: ignore[attr-defined]
    return screen


ENVIRONMENTS: list[tuple[dict[str, str], Protocol]] = [
    ({"TERM": "xterm-kitty"}, "kitty"),
    ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
    ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1", "TERM_PROGRAM": "vscode"}, "blocks"),
    ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, "kitty"),
    ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
    ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
    ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
    ({"TERM": "foot"}, "sixel"),
    ({"TERM": "mlterm-256color"}, "sixel"),
    ({"TERM": "contour"}, "sixel"),
    ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "blocks"),
    ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-0/default,1,0"}, "blocks"),
    ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, "blocks"),
    ({"TERM": "foot", "ZELLIJ": "0"}, "blocks"),
    ({}, "blocks"),
]


@pytest.mark.parametrize(("environ", "protocol"), ENVIRONMENTS, ids=str)
def test_protocol_is_read_from_the_environment(
    environ: dict[str, str], protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "_cell_pixels", lambda: (20, 10))
    assert choose_protocol(environ) == protocol


def test_sixel_needs_the_size_of_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "_cell_pixels", lambda: None)
    assert choose_protocol({"TERM": "foot"}) == "blocks"


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("height", [8, 7])
def test_half_blocks_have_the_colours_of_the_pixels(height: int, mode: str) -> None:
    images = random_images(height=height, mode=mode)
    lines, text = render(images, "blocks", COLUMNS, ROWS)
    screen = Screen()
    screen.feed(text)
    assert lines == 4
    assert screen.lines()[0] == " ".join(["▀" * 8] * 8)
    assert screen.lines()[4] == ""
    for i, image in enumerate(images):
        expected = np.asarray(image.convert("RGB"))
        assert np.array_equal(screen.pixels(0, 9 * i, height, 8), expected)
    if height % 2:
        assert screen.cells[3][0][1].endswith(";49"), "the terminal's own background under the last row"


def test_half_blocks_in_256_colours_are_near() -> None:
    _, text = render(
        [Image.new("L", (8, 8), 255), Image.new("RGB", (8, 8), (255, 0, 0))], "blocks", COLUMNS, ROWS, "256"
    )
    assert "38;2;" not in text
    assert set(re.findall(r"38;5;(\d+)", text)) <= {"15", "231", "9", "196"}


def test_a_row_fits_into_any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "_cell_pixels", lambda: (19, 9))
    for height, width in ((8, 8), (28, 28), (64, 48), (128, 512), (40, 8)):
        images = random_images(10, height, width)
        for columns, needed in product((1, 10, 40, 80, 250), (0, 10)):
            for rows in (1, 6, 24, 60):
                lines, text = render(images, "blocks", columns, rows, needed=needed)
                assert lines <= max(0, rows // 3)
                longest = max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in text.split("\r\n"))
                assert longest < columns or not text
                assert render(images, "kitty", columns, rows, needed=needed)[0] <= rows // (3 if needed else 4)
        assert render(images, "blocks", 80, 24)[0], "a usual terminal shows all of these"
    assert strip_of(render(random_images(8, 64, 64), "iterm", 80, 24)[1]).width * 19 * 6 / 64 / 9 < 80


def strip_of(text: str) -> Image.Image:
    """The image sent by the protocols of iTerm2 and kitty."""
    if text.startswith("\x1b]1337"):
        encoded = text.removesuffix("\a").partition(":")[2]
    else:
        parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
        assert all(len(data) <= 4096 and "q=2" in keys for keys, data in parts), "q=2: the terminal sends no answer"
        assert [keys[-3:] for keys, _ in parts] == ["m=1"] * (len(parts) - 1) + ["m=0"]
        assert ["a=T" in keys for keys, _ in parts] == [True] + [False] * (len(parts) - 1)
        encoded = "".join(data for _, data in parts)
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


@pytest.mark.parametrize("protocol", ["iterm", "kitty"])
def test_graphics_protocols_send_the_images_as_a_png(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "_cell_pixels", lambda: (20, 10))
    images = random_images(8, 32, 32)
    lines, text = render(images, protocol, 120, 24)
    strip = np.asarray(strip_of(text))
    assert lines == 6
    assert strip.shape[0] == 64
    for i in range(2):
        expected = np.asarray(images[i]).repeat(2, 0).repeat(2, 1)
        assert np.array_equal(strip[:, i * 68 : i * 68 + 64], expected)


def decode_sixel(text: str) -> np.ndarray:
    """The pixels of sixels, [height width 3] in percent; -1 where nothing was drawn."""
    header = re.match(r'\x1bP0;1;0q"1;1;(\d+);(\d+)', text)
    assert header is not None
    width, height = map(int, header.groups())
    pixels, palette, band, x, colour = np.full((-(-height // 6) * 6, width, 3), -1), {}, 0, 0, 0
    for token in re.findall(r"#\d+;2;\d+;\d+;\d+|#\d+|!\d+.|[$-]|[?-~]", text[header.end() : -2]):
        if token[0] == "#":
            number, _, rgb = token[1:].partition(";2;")
            if rgb:
                palette[int(number)] = [int(part) for part in rgb.split(";")]
            colour = int(number)
        elif token in "$-":
            x, band = 0, band + 6 * (token == "-")
        else:
            n, bits = (int(token[1:-1]), token[-1]) if token[0] == "!" else (1, token)
            for y in range(6):
                if (ord(bits) - 63) >> y & 1:
                    pixels[band + y, x : x + n] = palette[colour]
            x += n
    return pixels


def test_sixels_have_the_colours_of_the_pixels() -> None:
    ramp = np.zeros((14, 30, 3), np.uint8)
    ramp[:7, :, 0], ramp[7:, :15, 1], ramp[13, :] = 200, 120, 255
    pixels = decode_sixel(encode_sixel(Image.fromarray(ramp)))
    assert abs(pixels[:14] - ramp.astype(int) * 100 // 255).max() <= 1
    assert (pixels[14:] == -1).all(), "the last band is only partly drawn"
    assert not encode_sixel(Image.fromarray(ramp)).rstrip("\x1b\\").endswith("-"), "it would scroll"


PROTOCOLS: list[Protocol] = ["blocks", "kitty", "iterm", "sixel"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ten_classes_are_all_shown_in_a_usual_terminal(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "_cell_pixels", lambda: (20, 10))
    colours = [(25 * i, 0, 250 - 25 * i) for i in range(10)]
    images = [Image.new("RGB", (28, 28), colour) for colour in colours]
    lines, text = render(images, protocol, COLUMNS, ROWS, needed=10)
    assert lines == 8, "a third of the terminal"
    if protocol == "blocks":
        screen = Screen()
        screen.feed(text)
        for i, colour in enumerate(colours):
            assert (screen.pixels(4 * (i // 5), 9 * (i % 5), 8, 8) == colour).all()
    else:
        pixels = decode_sixel(text) * 2.55 if protocol == "sixel" else np.asarray(strip_of(text))
        height, width, _ = pixels.shape
        assert width * lines * 20 / height / 10 < COLUMNS
        for i, colour in enumerate(colours):
            middle = pixels[height * (1 + 2 * (i // 5)) // 4, width * (1 + 2 * (i % 5)) // 10]
            assert np.allclose(middle, colour, atol=5)


def test_classes_that_would_be_too_small_are_left_out() -> None:
    images = random_images(10, 28, 28)
    assert render(images, "blocks", 30, ROWS, needed=10) == render(images, "blocks", 30, ROWS)


def test_a_training_shows_one_image_of_each_class(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("LINES", str(ROWS))
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    ProgressReporter(1000).show_images(lambda n: random_images(n, 28, 28), classes=10)
    screen = Screen()
    screen.feed(terminal.getvalue())
    assert [line for line in screen.lines() if line] == [" ".join(["▀" * 8] * 5)] * 8


def test_images_stay_under_the_bar_when_messages_are_printed_and_when_it_ends(console: Console) -> None:
    shown, images = Preview(console), random_images()
    with ProgressBar(10, console=console, interval=0) as bar:
        for i in range(25):  # more than the screen has lines
            bar.update(i % 10, "before", ("after",))
            if i % 4 == 0:
                shown.show(images[i % 3 :])
            with shown.hidden():
                console.print(f"message {i}")
    shown.leave()
    console.print("the end")
    screen = screen_of(console)
    lines = screen.lines()
    (bar_line,) = [i for i, line in enumerate(lines) if line.startswith("before")]
    assert lines[bar_line - 1] == "message 24"
    assert [line[:8] for line in lines[bar_line + 1 : bar_line + 6]] == ["▀" * 8] * 4 + ["the end"]
    assert np.array_equal(screen.pixels(bar_line + 1, 0, 8, 8), np.asarray(images[24 % 3]))
    assert sum("▀" in line for line in lines) == 4, "nothing is left of the earlier ones"


def test_the_command_draws_one_bar_with_images_under_it() -> None:
    screen = Screen(40)
    few = ["--kimg", "8", "--tick-kimg", "1.6"]
    sent = run_in_terminal(screen, "train", "digits", *few, "--device", "cpu", TERM="xterm-256color")
    assert "\\x1b" not in sent, "controls of the bar itself are not escaped"
    screen.feed(sent.replace("\r\n", "\n"))
    lines = screen.lines()
    assert sum("━" in line for line in lines) == 1
    (bar_line,) = [i for i, line in enumerate(lines) if line.startswith("8.0/8 kimg")]
    assert lines[bar_line + 1].startswith("▀" * 8)


OF_ANOTHER_TERMINAL = (
    "NO_COLOR", "FORCE_COLOR", "TMUX", "STY", "ZELLIJ", "TERM_PROGRAM", "KITTY_WINDOW_ID", "LC_TERMINAL", "COLUMNS",
    "LINES",
)  # fmt: skip


def run_on_device(command: list[str]) -> None:
    """Runs the command line on a terminal, whose device is the last argument."""
    *sys.argv, device = command
    for name in OF_ANOTHER_TERMINAL:
        os.environ.pop(name, None)
    terminal = os.open(device, os.O_RDWR | os.O_NOCTTY)
    for stream in range(3):
        os.dup2(terminal, stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", encoding="utf-8", closefd=False) for stream in (1, 2))
    main()


def run_in_terminal(screen: Screen, *words: str, **environ: str) -> str:
    """What a command sends to a terminal of this size."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", screen.rows, screen.columns, 0, 0))
    process, sent = Fork(["ganvas", *words, os.ttyname(its)], run_on_device, environ), b""
    until = time.monotonic() + 120
    while (running := process.is_running) or select.select([ours], [], [], 0)[0]:  # the end is read after the exit
        if running and time.monotonic() > until:
            process.wait(0)  # ends it, and fails
        if select.select([ours], [], [], 0.05)[0]:
            sent += os.read(ours, 2**16)
    os.close(its)
    os.close(ours)
    assert process.wait().returncode == 0, sent.decode()
    return sent.decode()


def test_images_are_drawn_anew_in_a_terminal_of_another_size(console: Console) -> None:
    shown = Preview(console)
    shown.show(random_images())
    before = len(console.file.getvalue())  # type: ignore[attr-defined]
    shown.follow_size()
    assert len(console.file.getvalue()) == before  # type: ignore[attr-defined]
    console.width = 30
    shown.follow_size()
    assert screen_of(console).lines()[1] == " ".join(["▀" * 6] * 4)
    console.height = 5
    shown.follow_size()
    assert "▀" not in "".join(screen_of(console).lines())


def test_kitty_images_are_deleted_by_their_number(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-kitty")
    shown = Preview(console)
    shown.show(random_images())
    with shown.hidden():
        sent = console.file.getvalue()  # type: ignore[attr-defined]
        assert sent.endswith(f"\x1b[J\x1b_Ga=d,d=I,i={os.getpid()},q=2\x1b\\")


NOWHERE: list[dict[str, str]] = [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "unknown"}]


@pytest.mark.parametrize("environ", NOWHERE, ids=str)
def test_no_images_where_the_user_wants_no_colour(
    environ: dict[str, str], console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    other = Console(file=Terminal(), width=COLUMNS, height=ROWS)
    assert Preview(console).shown
    shown = Preview(other)
    shown.show(random_images())
    shown.leave()
    assert not shown.shown
    assert other.file.getvalue() == ""  # type: ignore[attr-defined]


def test_no_images_in_files_nor_without_unicode_nor_on_demand(console: Console) -> None:
    class Ascii(Terminal):
        encoding = "ascii"  # type: ignore[assignment]

    assert not Preview(Console(file=io.StringIO(), force_terminal=True)).shown, "FORCE_COLOR into a file"
    assert not Preview(Console(file=Ascii())).shown
    assert not Preview(console, shown=False).shown


def train_in_terminal(*flags: str, **environ: str) -> tuple[Screen, str]:
    """The screen after a training in a pseudo-terminal, and all that it got."""
    screen = Screen()
    words = ["train", "digits", "--kimg", "2", "--snapshot-kimg", "1", "--no-plot", "--device", "cpu", *flags]
    text = run_in_terminal(screen, *words, **environ).replace("\r\n", "\n")
    screen.feed(text)
    return screen, text


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_training_in_a_terminal_ends_with_its_newest_images() -> None:
    screen, _ = train_in_terminal(TERM="xterm-256color", COLORTERM="truecolor")
    lines = screen.lines()
    (bar_line,) = [i for i, line in enumerate(lines) if "2.0/2 kimg" in line]
    assert [line for line in lines[bar_line + 1 :] if line] == [" ".join(["▀" * 8] * 8)] * 4
    grid = Run(next(Path("runs").iterdir())).grids[-1]
    image = np.asarray(Image.open(grid).convert("RGB"))
    first = image[4:68:8, 4:68:8]  # the grid enlarges eight times
    assert np.array_equal(screen.pixels(bar_line + 1, 0, 8, 8), first)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_training_with_no_preview_shows_the_bar_alone() -> None:
    screen, text = train_in_terminal("--no-preview", TERM="xterm-256color", COLORTERM="truecolor")
    assert any("2.0/2 kimg" in line for line in screen.lines())
    assert "▀" not in text
