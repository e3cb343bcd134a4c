"""Logs that are huge, broken, or no files at all: read in bounded memory, or refused in words."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from test_log_formats import CASES

from ganvas.diagnosis.logs.reader import read, read_trainings
from ganvas.diagnosis.logs.rows import MAX_ROWS, Rows
from ganvas.errors import GanvasError

PLAIN = "step 1 d_loss: 0.5 g_loss: 1.5\nstep 2 d_loss: 0.25 g_loss: 1.25\n"


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """Ends the process if a test takes a minute: a read that blocks cannot be interrupted."""
    timer = threading.Timer(60, os._exit, (70,))
    timer.start()
    yield
    timer.cancel()


def refusal(path: Path) -> str:
    with pytest.raises(GanvasError) as raised:
        read(path)
    assert raised.value.expected
    assert raised.value.fix
    return raised.value.what


# What is no regular file


def test_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refusal(tmp_path / "pipe")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/random", "/dev/tty"])
def test_device_is_refused(device: str) -> None:
    assert "no regular file" in refusal(Path(device)) or not Path(device).exists()


def test_folder_with_a_fifo_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.log")
    (tmp_path / "b.log").write_text(PLAIN)
    assert read(tmp_path)["D/loss"].last == 0.25


def test_folder_that_links_to_itself_is_read(tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "b.log").write_text(PLAIN)
    assert read(tmp_path)["D/loss"].last == 0.25


def test_file_without_a_size_is_refused() -> None:
    if Path("/proc/self/status").exists():
        assert "no name that is recognised" in refusal(Path("/proc/self/status"))


# What is no log


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\0" * 100, "is empty"),
        (b"\0" * 200_000, "begins with zero bytes"),
        (random.Random(0).randbytes(5000), "is not text"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0" * 20, "is not text"),
        (b"\x1f\x8b\x08\0" + bytes(range(200)), "could not be unpacked"),
        (b"(\xb5/\xfd" + bytes(range(200)), "is packed (zstd)"),
        (b"PK\x03\x04" + bytes(50), "is packed (zip)"),
        (b"\x80\x02}q\0X\x06\0\0\0d_lossq\x01" * 5, "is not text"),
        (b"nothing, nothing\n" * 5, "contains no"),
    ],
    ids=["empty", "blank", "zeros", "many zeros", "random", "program", "gzip", "zstd", "zip", "pickle", "prose"],
)
def test_file_that_is_no_log_is_refused(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)
    assert what in refusal(tmp_path / "log")


def test_large_json_document_that_is_no_list_of_objects_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.diagnosis.logs.formats.json_document.MAX_DOCUMENT", 1000)
    (tmp_path / "a.json").write_text(json.dumps({"d_loss": [0.5] * 1000}))
    assert "one JSON document of" in refusal(tmp_path / "a.json")


def test_large_list_of_objects_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.diagnosis.logs.formats.json_document.MAX_DOCUMENT", 1000)
    monkeypatch.setattr("ganvas.diagnosis.logs.source._CHUNK", 100)
    for indent in (None, 1):
        (tmp_path / "a.json").write_text(json.dumps([{"step": n, "d_loss": n / 8} for n in range(99)], indent=indent))
        assert read(tmp_path / "a.json")["D/loss"].value.tolist() == [n / 8 for n in range(99)]


# Encodings, and what a crash leaves


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encoding_is_found(encoding: str, tmp_path: Path) -> None:
    for name, text in (("a.log", PLAIN), ("a.csv", "step,d_loss\r\n1,0.5\r\n2,0.25\r\n")):
        (tmp_path / name).write_bytes(text.encode(encoding))
        assert read(tmp_path / name)["D/loss"].value.tolist() == [0.5, 0.25]


def test_latin_1_and_a_torn_end_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes("naïve café\n".encode("latin-1") + PLAIN.encode() + b"step 3 d_lo\0\0\0\0")
    assert read(tmp_path / "a.log")["D/loss"].value.tolist() == [0.5, 0.25]


def test_line_of_many_megabytes_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("x " * 5_000_000 + "\n" + PLAIN)
    history = read(tmp_path / "a.log")
    assert history["D/loss"].value.tolist() == [0.5, 0.25]
    assert history.facts.unread == 1


# Size


def filled(rows: int, row: Callable[[int], Mapping[str, float | None]]) -> Rows:
    collected = Rows(max_rows=2000)
    for n in range(rows):
        collected.add(row(n))
    return collected


def test_thinning_keeps_ends_extremes_and_what_is_not_finite() -> None:
    odd = {12_345: np.nan, 23_457: np.inf, 31_111: 99.0, 35_553: -99.0}
    table = filled(50_000, lambda n: {"step": n, "d_loss": odd.get(n, n % 7)}).table()
    assert len(table) <= 2 * 2000 + 4096
    assert {0, 49_999, *odd} <= set(table.rows.tolist())
    assert (table.columns["step"].values == table.rows).all()


def test_thinning_keeps_alternating_and_rare_rows() -> None:
    def row(n: int) -> Mapping[str, float | None]:
        return {"step": n, ("d_loss", "g_loss")[n % 2]: 1.0} | ({"fid": n} if n % 1000 == 0 else {})

    table = filled(50_000, row).table()
    d, g = (int(table.columns[name].present.sum()) for name in ("d_loss", "g_loss"))
    assert 0.8 < d / g < 1.25
    assert table.columns["fid"].values[table.columns["fid"].present].tolist() == [1000 * n for n in range(50)]


def test_very_many_columns_keep_fewer_rows() -> None:
    table = filled(6000, lambda n: {f"c{(n + k) % 1000}": 1.0 for k in range(3)}).table()
    assert len(table) < 6000


_MEASURE = """
import sys
from contextlib import suppress
from pathlib import Path
from ganvas.diagnosis.logs.reader import read, read_trainings
history = read(Path(sys.argv[1]))
series = history["D/loss"]
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(len(series), series.at[0], series.at[-1], int(peak.split()[1]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is not known")
@pytest.mark.parametrize("kind", ["csv", "jsonl", "log"])
def test_fifteen_megabytes_are_read_in_bounded_memory(kind: str, tmp_path: Path) -> None:
    """A stand-in for a log of 1 GB, for which the limit is 300 MB: what is kept has its bound after 10 MB already."""
    lines = {
        "csv": "{n},0.{n},1.5,0.0002\n",
        "jsonl": '{{"step": {n}, "d_loss": 0.{n}, "g_loss": 1.5, "lr": 0.0002}}\n',
        "log": "[INFO] step {n} d_loss: 0.{n} g_loss: 1.5 lr: 0.0002\n",
    }
    path, size, n = tmp_path / f"a.{kind}", 0, 0
    with path.open("w") as file:
        size += file.write("step,d_loss,g_loss,lr\n" if kind == "csv" else "")
        while size < 15_000_000:
            size += file.write("".join(lines[kind].format(n=i) for i in range(n, n + 10_000)))
            n += 10_000
    done = subprocess.run([sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True)
    length, first, last, megabytes = map(float, done.stdout.split())
    assert MAX_ROWS / 2 < length <= 2 * MAX_ROWS + 4096
    assert (first, last) == (0, n - 1)
    assert megabytes < 200


# Damage


@pytest.mark.parametrize("name", CASES)
def test_damaged_log_is_read_or_refused(name: str, tmp_path: Path) -> None:
    """Whatever a crash, an editor or a disk does to a log, there is no other exception."""
    case, chance = CASES[name], random.Random(name)
    text = case.text if isinstance(case.text, str) else next(iter(case.text.values()))
    path = tmp_path / f"damaged{Path(case.name).suffix}"
    for _ in range(10):
        content = bytearray(text.encode())
        for _ in range(chance.randint(1, 5)):
            at, length = chance.randrange(len(content) + 1), chance.randint(1, 40)
            match chance.randrange(4):
                case 0:
                    del content[at : at + length]
                case 1:
                    content[at:at] = content[at : at + length] * chance.randint(1, 5)
                case 2:
                    content[at:at] = bytes(chance.choices(b"{}[](),:;=|/\"'\n\r\t 0123456789.eE-+%DG\0\xff", k=9))
                case _:
                    content[at:at] = chance.choice(
                        [b"nan", b"inf", b"null", b"1e400", b"-", b"1,200", b"tensor(", b"[["]
                    )
        path.write_bytes(content)
        with suppress(GanvasError):
            assert read_trainings([path])


@pytest.mark.parametrize("form", ["csv", "json"])
def test_million_columns_are_refused_at_once(form: str, tmp_path: Path) -> None:
    names = ["step", "d_loss", "g_loss", *(f"c{i}" for i in range(1_000_000))]
    file = tmp_path / f"log.{form}"
    if form == "csv":
        file.write_text(",".join(names) + "\n" + ",".join(["1"] * len(names)) + "\n")
    else:
        file.write_text((json.dumps(dict.fromkeys(names, 0.5)) + "\n") * 3)
    began = time.monotonic()
    with pytest.raises(GanvasError, match=r"columns|document"):
        read(file)
    assert time.monotonic() - began < 20
