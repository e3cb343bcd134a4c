"""The names of quantities in other people's logs: one table of patterns, matched without case and punctuation."""

import re
from functools import cache, lru_cache

_D = "(?:d|dis|disc|discrim|discriminator|netd|modeld|critic)"
_G = "(?:g|gen|generator|netg|modelg)"
_LOSS = "(?:total|mean|avg)?(?:loss|losses|cost|err|error)"
_OUT = "(?:scores?|out|outputs?|logits?|preds?|probs?|mean)"
_FAKE = "(?:fakes?|gen|generated)"
_REAL = "(?:reals?)"
_ACC = "(?:binary)?(?:acc|accuracy)"
_GRADIENT = "grad(?:ient)?s?(?:norm)?"
_EVALUATED = "(?:val|valid|test|eval)?(?:clean)?"


def _of(network: str, what: str) -> str:
    """ "d_loss" and "loss_d"."""
    return f"(?:{network}{what}|{what}{network})"


def _loss_on(kind: str) -> str:
    """ "d_loss_real", "loss_d_real", "d_real_loss", "real_d_loss"; the network may be left out."""
    return f"{_of(_D, _LOSS)}(?:on)?{kind}|{_D}{kind}{_LOSS}|{kind}{_D}{_LOSS}|{_LOSS}{_D}?{kind}|{kind}{_LOSS}"


def _output_on(kind: str) -> str:
    """ "d_real", "real_d", "d_out_real", "d_real_out", "scores/real", "real_score"."""
    return f"{_of(_D, kind)}|{_D}{_OUT}(?:on)?{kind}|{_OUT}?{_D}{kind}{_OUT}|(?:loss)?{_OUT}{kind}|{kind}{_OUT}"


def _accuracy_on(kind: str) -> str:
    """ "d_acc_real", "d_real_acc", "real_acc"."""
    return f"{_D}?{_ACC}(?:on)?{kind}|{_D}?{kind}{_ACC}"


TABLE = {
    "D/loss": f"{_of(_D, _LOSS)}|{_LOSS}{_D}{_LOSS}|^{_D}$",
    "G/loss": f"{_of(_G, _LOSS)}|{_LOSS}{_G}{_LOSS}|^{_G}$|ggan{_LOSS}?|{_G}gan{_LOSS}",
    "D/loss_real": f"{_loss_on(_REAL)}|d1",
    "D/loss_fake": f"{_loss_on('fakes?')}|{_of(_D, _LOSS)}(?:on)?{_FAKE}|d2",
    "D/real": f"dx(?:mean)?|{_output_on(_REAL)}",
    "D/fake": f"dgz1?(?:mean)?|{_output_on('fakes?')}|{_D}{_OUT}?{_FAKE}",
    "D/sign_real": f"(?:loss)?signs?{_REAL}|{_D}signs?{_REAL}",
    "D/sign_fake": f"(?:loss)?signs?{_FAKE}|{_D}signs?{_FAKE}",
    "D/accuracy": f"{_of(_D, _ACC)}|{_ACC}",
    "D/accuracy_real": _accuracy_on(_REAL),
    "D/accuracy_fake": _accuracy_on(_FAKE),
    "D/gradient": f"{_of(_D, _GRADIENT)}|{_GRADIENT}{_D}norm",
    "G/gradient": f"{_of(_G, _GRADIENT)}|{_GRADIENT}{_G}norm",
    "D/gp": f"(?:{_D}|{_LOSS})?(?:gp|grad(?:ient)?pen(?:alty)?)(?:{_LOSS}|{_D})?",
    "fid": rf"{_EVALUATED}(?:fid(?:scores?)?(?:\d+k?)?(?:full)?|frechetinceptiondistance)",
    "kid": rf"{_EVALUATED}(?:kid(?:scores?)?(?:\d+k?)?(?:full)?|kernelinceptiondistance)",
    "inception score": rf"{_EVALUATED}(?:inceptionscores?|is(?:score)?(?:\d+k)?)",
}
"""Name in Ganvas -> a pattern of lower-case letters and digits; the first that matches the whole name counts."""

TIMES = {
    "kimg": "(?:progress|cur|n)?kimgs?",
    "nimg": "(?:progress|cur)?nimgs?",
    "step": "(?:trainer)?(?:global|total|train|training|n|cur|num)?(?:steps?|iters?|iterations?|it)|updates?",
    "batch": "i|(?:cur)?(?:batch|batches|batchidx|batchindex|batchid|minibatch)",
    "epoch": "(?:cur|n)?epochs?|ep",
}
"""The same for the columns of the time; the count of batches may restart in every epoch."""

SPARSE = frozenset({"fid", "kid", "inception score"})
"""Quantities that are not measured at every line: their gaps mean nothing."""

EXAMPLES = "d_loss, g_loss, D(x), D(G(z)), real_score, fake_score, d_accuracy, d_grad_norm, gradient_penalty, fid"
"""Some names that are recognised, for an error message."""

_PREFIX = "(?:train|training|trainer|metrics?|avg|average|mean|running|total|losses)"
_SUFFIX = "(?:train|avg|average|mean|running|total|epoch|step|value)"
_PIX2PIX_LOSSES = {"dreal": "D/loss_real", "dfake": "D/loss_fake"}


@lru_cache(4096)
def translate(name: str) -> str | None:
    """The name in Ganvas of a quantity that a log calls `name`; None if it is not certain."""
    if name.endswith("/std"):
        base = translate(name.removesuffix("/std"))
        return base and f"{base}/std"
    return _matching(TABLE, name)


def translate_all(names: list[str]) -> dict[str, str]:
    """{name: name in Ganvas} of those that are recognised; pix2pix logs D's losses as D_real and D_fake."""
    pix2pix = any(normalise_name(name) == "ggan" for name in names)
    known = {name: (pix2pix and _PIX2PIX_LOSSES.get(normalise_name(name))) or translate(name) for name in names}
    return {name: own for name, own in known.items() if own}


@lru_cache(4096)
def time_kind(name: str) -> str | None:
    """Which of `TIMES` a column is, if any."""
    return _matching(TIMES, name)


def is_probability(name: str) -> bool:
    """Whether the name itself says that D's output is a probability, as the D(x) of the DCGAN example."""
    return bool(re.fullmatch("dx(?:mean)?|dgz1?(?:mean)?|.*prob.*", normalise_name(name)))


def is_critic(name: str) -> bool:
    """Whether the name says that D is a critic."""
    return "critic" in normalise_name(name)


def normalise_name(name: str) -> str:
    """Lower-case letters and digits only."""
    return re.sub("[^a-z0-9]", "", name.lower())


@cache
def _compiled(pattern: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The pattern by itself, and with prefixes and suffixes that change nothing."""
    return re.compile(pattern), re.compile(f"{_PREFIX}*(?:{pattern}){_SUFFIX}*")


def _matching(table: dict[str, str], name: str) -> str | None:
    short = normalise_name(name)
    for with_affixes in (False, True):
        for own, pattern in table.items():
            if _compiled(pattern)[with_affixes].fullmatch(short):
                return own
    return None
