"""Which words before a printed number are its name."""

import re
from collections.abc import Collection, Sequence

from ganvas.diagnosis.logs import names

_WRAPPER = re.compile(r"(?:(?:\b\w+\.)*\b(?:tensor|array|float\d*|int\d*|Tensor|Scalar|DeviceArray)\s*)?[\[(<#{]\s*$")
_SEPARATOR = re.compile(r"['\"]?\s*[:=：]+\s*['\"]?$")
_BOUNDARY = re.compile(r"[,;|\[\]{}<>=:：\"'“”—–]+|\s-+\s|-{2,}")
_ASIDE = re.compile(r"^(.*?)\s*\((?:[^()]|\([^()]*\))*\)\s*[:=]\s*$")
_SNAPSHOT = re.compile(r"network-snapshot-$")
_WORDS_THAT_ARE_NO_NAME = frozenset({"is", "device", "cuda", "gpu", "grad_fn", "dtype", "shape", "size"})
_LEVELS = re.compile(r"^(?:.*\b(?:INFO|DEBUG|WARNING|CRITICAL)\b\s*|(?:WARN|ERROR|TRACE|NOTICE)\b\s+)")
SETTINGS = frozenset({"epochs", "steps", "iterations", "numepochs", "nepochs", "numsteps", "batches"})


def name_before(texts: Sequence[str], given: Collection[str], any_name: bool = False) -> str:
    """The name of the number after `texts`, the texts of its line so far; empty if it has none that is certain.

    With a colon or an equals sign any words are a name; without one only words that are known, or with `any_name` the
    last word.
    """
    before = (
        texts[-1] if len(texts) == 1 else re.sub(r"^[A-Za-zµ]+(?= )", "", texts[-1])
    )  # the unit of the number before
    if _SNAPSHOT.search(before):
        return "kimg"
    while match := _WRAPPER.search(before):
        before = before[: match.start()]
    explicit = _SEPARATOR.search(before)
    if explicit:
        whole = "0".join([*texts[:-1], before])
        if before.count(")") > before.count("(") and (aside := _ASIDE.match(whole)):
            before = aside[1]  # FID score (step: 2000, test split): 23.4
        else:
            before = before[: explicit.start()]
    words = _LEVELS.sub("", _last_part(before)).split()
    if known := _known_end(words, given, bool(explicit)):
        return known
    return _plain_name(words if explicit else words[-1:]) if explicit or any_name else ""


def sibling_name(before: str, after: str, names_before: Sequence[str]) -> str:
    """`accuracy fake` of the fake in `accuracy real: 92%, fake: 80%`; empty for any other word."""
    match = re.search(r"\b(real|fake)s?['\"]?\s*[:=]?\s*$", before, re.I)
    if match is None:
        return ""
    other = next((re.sub(r"(?i)(?:real|fake)s?$", match[1], name) for name in names_before[-1:]), "")
    if other in names_before or not names.translate(other):
        return f"accuracy {match[1]}" if after.startswith("%") else ""
    return other


def is_time_without_name(texts: Sequence[str], i: int) -> bool:
    """Whether the i-th number is a step by its place: first in its line, or `30/100`, where no name is before it."""
    before, after = texts[i].strip(), texts[i + 1].strip()
    share = after == "/" and i + 2 < len(texts)
    first = i == 0 and re.fullmatch(r"[\s>\[(#]*", before) and (texts[1][:1] in ("", " ") or after[:1] in "]):,|>")
    return bool(first) or bool(share and (not before or before[-1] in "[(,|>:-%" or before[-1].isalpha()))


def _last_part(text: str) -> str:
    """The words after the last punctuation; a bracket without its other half is one."""
    part = _BOUNDARY.split(text)[-1]
    while part.count(")") > part.count("("):
        part = part.partition(")")[2]
    while part.count("(") > part.count(")"):
        part = part.partition("(")[2]
    return part.strip(" -.#*•>")


def _known_end(words: Sequence[str], given: Collection[str], explicit: bool) -> str:
    """`D loss` of `INFO training D loss`; empty if no end of the words is known."""
    for first in range(len(words)):
        end = " ".join(words[first:])
        if end == "is" and not explicit:  # the version is 0.16
            return ""
        if end in given or names.is_quantity(end):
            return end
        if names.time_kind(end) and words[first - 1 : first] != ["per"]:
            return end
    return ""


def _plain_name(words: Sequence[str]) -> str:
    name = " ".join(words)
    odd = (
        not words
        or words == ["is"]
        or not re.search(r"[^\W\d_]", name)
        or name in _WORDS_THAT_ARE_NO_NAME
        or len(words) > 6
    )
    return "" if odd or names.time_kind(name) or words[0] == "per" else name
