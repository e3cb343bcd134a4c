"""Logs for `ganvas diagnose`: those of many programs, whole and damaged."""

import bz2
import gzip
import json
import lzma
import sys
from pathlib import Path
from random import Random

from command_lines import run_command
from damage import BYTES
from isolation import Answer, Case

sys.path.insert(0, str(Path(__file__).parent.parent))

import blind_failing  # noqa: F401 - they fill the table
from blind_rows import BLIND_LOGS

PIECES = [
    b"nan", b"inf", b"-inf", b"null", b"None", b"1e400", b"-", b"1,200", b"tensor(", b"D_A", b"epoch", b"step",
    b"\x1b[3",
    b'"value"', b"[[", b'{"a":', b"9" * 400, b"\x00", b"\xff", b"\r", b"|", b"\xe2\x82\xac", "²".encode(), b"1_0",
    b"0x1p3",
]  # fmt: skip


def mutate(content: bytes, random: Random) -> bytes:
    """One to six small changes, of the kinds that hand-edited and cut logs have."""
    text = content
    for _ in range(random.randint(1, 6)):
        place, length = random.randrange(len(text) + 1), random.randint(1, 300)
        match random.randrange(6):
            case 0:
                text = text[:place] + text[place + length :]
            case 1:
                text = text[:place] + text[place : place + 200] * random.randint(1, 5) + text[place:]
            case 2:
                text = text[:place] + random.choice(PIECES) + text[place:]
            case 3:
                text = text.replace(
                    random.choice([b",", b"\n", b":", b'"', b"0", b" "]), random.choice([b"", b" ", b",", b"\n"])
                )
            case 4:
                text = text[:place]
            case 5:
                text = BYTES[random.choice(list(BYTES))](text, random)
    return text


def make(number: int, random: Random, prepared: Path) -> Case:
    """Case `number`: every log once as it is, the others damaged."""
    log = BLIND_LOGS[number % len(BLIND_LOGS)]
    content, whole = log.text().encode(), number % 10 == 0
    if not whole:
        content = mutate(content[: random.choice([2000, 6000, len(content)])], random)
    pack, suffix = random.choice(
        [(bytes, ""), (bytes, ""), (gzip.compress, ".gz"), (bz2.compress, ".bz2"), (lzma.compress, ".xz")]
    )
    name = random.choice(["log.txt", "log.csv", "log.jsonl", "log.json", "log", "log.tsv"]) if not whole else "log.txt"
    packed = pack(content)
    if suffix and not whole and random.random() < 0.3:
        packed = BYTES[random.choice(list(BYTES))](packed, random)
    Path(name + suffix).write_bytes(packed)
    argv = ["diagnose", name + suffix, "--json"]
    if not whole and random.random() < 0.3:
        argv += [
            "--columns",
            random.choice(
                ["d_loss=2", "d_loss=g_loss", "d_loss=", "=", "step=99999999999999", "x=1,x=2", "²", "d_loss=nan"]
            ),
        ]

    def check(answer: Answer) -> str:
        if answer.status:
            return "" if answer.err.strip() else "it failed without a word"
        found = json.loads(answer.out, parse_constant=lambda name: f"not JSON: {name}")
        if "not JSON" in str(found):
            return f"NaN or Infinity in what must be JSON: {answer.out[:300]}"
        return ""

    what = f"ganvas {' '.join(argv)}; the log of {log.name}, {'whole' if whole else 'damaged'}"
    return Case(what, run_command(argv), frozenset({0}) if whole else frozenset({0, 1, 2}), check)
