"""The names of quantities in other people's logs: one table of patterns, matched without case and punctuation."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

from ganvas.diagnosis.rules.quality import MEASURES
from ganvas.errors import GanvasError, did_you_mean

_D = "(?:d|dis|disc|discrim|discriminator|netd|modeld|crit|critic)"
_G = "(?:g|gen|generator|netg|modelg)"
_LOSS = "(?:total|mean|avg)?(?:loss|losses|cost|err|error|hinge)"
_OUT = "(?:scores?|out|outputs?|logits?|preds?|probs?|mean)"
_FAKE = "(?:fakes?|gen|generated)"
_REAL = "(?:reals?)"
_ACC = "(?:binary)?(?:acc|accuracy)"
_GRADIENT = "grad(?:ient)?s?(?:norm)?"
_COUNT = r"(?:score)?(?:\d+k?)?(?:full)?(?:mean)?"


def _measure(what: str) -> str:
    """ "fid", "val_fid", "fid50k_full", "clean_fid", "fid_score"."""
    return rf"(?:val|valid|test|eval|ema)?(?:clean)?(?:{what}){_COUNT}(?:val|valid|test|eval|ema)?"


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


def _adversarial(network: str) -> str:
    """ "d_loss", "loss_d", "errD", "d_adv_loss", "loss_d_gan", "loss_gan_d"; or the network alone."""
    total = (
        f"{_of(network, _LOSS)}|{_LOSS}{network}{_LOSS}|^{network}$|l{network}(?:total)?|{_LOSS}(?:gan|adv){network}"
    )
    return f"{total}|(?:l|{_LOSS})?{network}(?:gan|adv){_LOSS}?|{_LOSS}?{network}{_LOSS}?(?:gan|adv)"


def _class_accuracy_on(kind: str) -> str:
    """ "cls_acc_fake", "aux_accuracy_fake", "fake_class_acc"."""
    of = "(?:cls|class|classes|classification|aux|label)"
    return f"{_D}?(?:{of}{_ACC}(?:on)?{kind}|{kind}{of}{_ACC}|{_ACC}{of}{kind}|{of}{kind}{_ACC}|{_ACC}{kind}{of})"


TABLE = {
    "D/loss": _adversarial(_D),
    "G/loss": _adversarial(_G),
    "D/loss_real": f"{_loss_on(_REAL)}|d1|l{_D}{_REAL}",
    "D/loss_fake": f"{_loss_on('fakes?')}|{_of(_D, _LOSS)}(?:on)?{_FAKE}|d2|l{_D}{_FAKE}",
    "D/real": f"dx(?:mean)?|{_output_on(_REAL)}",
    "D/fake": f"dgz1?(?:mean)?|{_output_on('fakes?')}|{_D}{_OUT}?{_FAKE}",
    "D/sign_real": f"(?:loss)?signs?{_REAL}|{_D}signs?{_REAL}",
    "D/sign_fake": f"(?:loss)?signs?{_FAKE}|{_D}signs?{_FAKE}",
    "D/accuracy": f"{_of(_D, _ACC)}|{_ACC}",
    "D/accuracy_real": _accuracy_on(_REAL),
    "D/accuracy_fake": _accuracy_on(_FAKE),
    "classes/accuracy_real": _class_accuracy_on(_REAL),
    "classes/accuracy_fake": _class_accuracy_on(_FAKE),
    "D/gradient": f"{_of(_D, _GRADIENT)}|{_GRADIENT}{_D}norm",
    "G/gradient": f"{_of(_G, _GRADIENT)}|{_GRADIENT}{_G}norm",
    "D/gp": f"(?:{_D}|{_LOSS})?(?:gp|grad(?:ient)?pen(?:alty)?)(?:{_LOSS}|{_D})?",
    "D/wasserstein": "(?:em|w)(?:1|dist|distance|estimate)|emd"
    "|(?:wasserstein|earthmovers?)(?:1|d|dist|distance|estimate)",
    "fid": _measure("fid(?:score)?s?|frechetinceptiondistance"),
    "kid": _measure("kid(?:score)?s?|kernelinceptiondistance"),
    "inception score": _measure("inceptionscores?|is"),
    "swd": _measure("swd(?:avg|average)?|sliced?wasserstein(?:distance)?"),
    "lpips": _measure("lpips(?:alex|vgg)?"),
    "ms-ssim": _measure("msssim"),
    "ssim": _measure("ssim"),
    "psnr": _measure("psnr"),
    "ppl": _measure(r"ppl2?(?:w|z|wend|zend|zfull|wfull)?|perceptualpathlength"),
    "fd": _measure("fd|fdd|fvd|fad|clipfid|sfid|(?:fd|fid)(?:dino|dinov2|clip|swav)|(?:dino|dinov2|swav)(?:fd|fid)"),
    "cmmd": _measure("cmmd"),
    "recall": _measure(r"(?:pr\d+k\d*(?:full)?|improved|manifold)?recall"),
    "mmd": _measure("mmd"),
    "modes": "(?:num|number|n)?(?:of)?modes(?:captured|covered|found|count)?|modescore",
}
"""Name in Ganvas -> a pattern of lower-case letters and digits; the first that matches the whole name counts."""

_AUTHORS = {
    "D/loss": "closs|lossc",
    "G/loss": f"adversarialloss|lossadversarial|advloss|lossadv|{_of(_G, _LOSS)}(?:on)?fakes?|{_LOSS}{_D}fakes?g",
    "D/loss_real": "c1",
    "D/loss_fake": "c2",
}
"""Names of single programs, which count where no other column has the role: StarGAN's G/loss_fake, MMGeneration's
loss_disc_fake_g, the c1 and c2 of a critic on reals and fakes, and a critic's c_loss beside G's loss."""

TIMES = {
    "kimg": "(?:progress|cur|n|num)?kimgs?",
    "nimg": "(?:progress|cur|n)?(?:nimgs?|imagesseen|seenimages)",
    "step": f"(?:trainer|gan|{_D}|{_G})?(?:global|total|train|training|n|cur|current|num)*"
    "(?:steps?|iters?|itrs?|iterations?|it|batchesdone)(?:num|number|count|done)?|updates?|niters?",
    "batch": "i|(?:cur|n)?(?:batch|batches|batchidx|batchindex|batchid|batchnum|minibatch)",
    "epoch": "(?:cur|current|n)?epochs?(?:num|number|idx)?|ep",
}
"""The same for the columns of the time; the count of batches may restart in every epoch."""

WHOLE_TIMES = {"nimg", "step", "batch"}
"""Times that are whole numbers, so that 9.800 or 9,800 may be 9800; 1.024 kimg and 1,25 epochs are not."""

SPARSE = frozenset(MEASURES)
"""Measures of quality. They are not measured at every line: their gaps mean nothing."""

EXAMPLES = "d_loss, g_loss, D(x), D(G(z)), real_score, fake_score, d_accuracy, d_grad_norm, gradient_penalty, fid"
"""Some names that are recognised, for an error message."""

_ROLES = (
    "d_loss", "g_loss", "d_loss_real", "d_loss_fake", "real_score", "fake_score", "d_accuracy", "d_grad_norm",
    "g_grad_norm", "gradient_penalty", "fid", "kid", "inception_score", *TIMES,
)  # fmt: skip
"""What may stand before each = of `--columns`."""

_WORDS = {
    "discriminator": "判别器|判別器|鉴别器|識別器|판별자|discriminateur|discriminador|diskriminator",
    "generator": "生成器|생성자|generateur|generador|gerador",
    "epoch": "エポック|에폭|轮次?|epoche|epoque|epoca",
    "loss": "损失|損失|손실|verlust|perte|perdida|perda",
    "step": "步数?|迭代次?数?|ステップ|스텝|schritt",
}
"""The word of a name in other languages."""
_OTHER_WORD = re.compile("|".join(f"(?P<{word}>{others})" for word, others in _WORDS.items()))
_BARE_ACCURACY = re.compile(f"{_ACC}")

_PREFIX = "(?:step|iter|batch|train|training|trainer|metrics?|results|avg|average|mean|running|total|losses)"
_SUFFIX = "(?:history|hist|list|train|avg|average|mean|running|total|epoch|step|value)"
_PIX2PIX_LOSSES = {"dreal": "D/loss_real", "dfake": "D/loss_fake"}
_SPEED = re.compile(r"(?:/|per)[ _]*s(?:ecs?|econds?)?$", re.I)
_LONGEST = 80
"""Letters in a name; longer ones are prose."""

_RUNS = {"seed", "run", "runid", "runname", "experiment", "trial"}
_EVALUATION = {"val", "valid", "validation", "test", "eval", "best"}
_SIDES = (("A", "B"), ("1", "2"), ("X", "Y"))
_ANY_SIDE = [side for pair in _SIDES for side in pair]


@lru_cache(4096)
def translate(name: str) -> str | None:
    """The name in Ganvas of a quantity that a log calls `name`; None if it is not certain."""
    if name.endswith("/std"):
        base = translate(name.removesuffix("/std"))
        return base and f"{base}/std"
    return _matching(TABLE, name) or _without_folders(name)


def is_quantity(name: str) -> bool:
    """Whether a name may be that of a quantity, of which the columns beside it decide."""
    return translate(name) is not None or _matching(_AUTHORS, name) is not None


@dataclass(frozen=True)
class Roles:
    """What the columns of one log are.

    Attributes:
        given: {name in the log: name in Ganvas, or kind of time} of those that the user has named.
    """

    given: Mapping[str, str] = field(default_factory=dict)

    def time_kind(self, name: str) -> str | None:
        """Which of `TIMES` a column is, if any."""
        if name in self.given:
            return self.given[name] if self.given[name] in TIMES else None
        return None if self._taken() & TIMES.keys() else time_kind(name)

    def translate_all(self, columns: Iterable[str]) -> dict[str, str]:
        """{name: name in Ganvas} of those that are recognised; pix2pix logs D's losses as D_real and D_fake."""
        columns = list(columns)
        pix2pix = any(normalise_name(name) == "ggan" for name in columns)
        known = {name: (pix2pix and _PIX2PIX_LOSSES.get(normalise_name(name))) or translate(name) for name in columns}
        known = {name: own for name, own in known.items() if own} | _authors(columns, set(known.values()))
        if "D/gp" in known.values():  # elsewhere wd is a weight decay
            known |= {name: "D/wasserstein" for name in columns if normalise_name(name) == "wd"}
        if known.get("recall") == "recall" and not any(normalise_name(name) == "precision" for name in columns):
            del known["recall"]  # a measure of images comes with precision; alone it is that of a classifier
        if not any(own.startswith(("D/", "G/")) and own != "D/accuracy" for own in [*known.values(), *self._taken()]):
            known = {name: own for name, own in known.items() if not _BARE_ACCURACY.fullmatch(normalise_name(name))}
        taken = self._taken()
        known = {name: own for name, own in known.items() if own not in taken and name not in self.given}
        return known | {name: own for name, own in self.given.items() if name in columns and own not in TIMES}

    def split_sides(self, columns: Iterable[str]) -> dict[str, dict[str, str]]:
        """{"A": {D_A: D, G_A: G}, "B": …} of a log of two GANs, as CycleGAN's; empty for others."""
        columns = list(columns)
        for pair in _SIDES:
            sides = {side: {name: base for name in columns if (base := self._base(name, side))} for side in pair}
            own = [{translate(base) for base in names.values()} for names in sides.values()]
            if all({"D/loss", "G/loss"} <= of_side for of_side in own):
                return sides
        return {}

    def _base(self, name: str, side: str) -> str | None:
        """D of D_A, and D/loss of a column that is given as that of A."""
        base, _, of = self.given.get(name, "").partition(" of ")
        return (base if of == side else None) if of else _without_side(name, side)

    def _taken(self) -> set[str]:
        return set(self.given.values())


def _authors(columns: Sequence[str], taken: Collection[str | None]) -> dict[str, str]:
    """Of `_AUTHORS` those whose role is free; c1 and c2 only together, c_loss only where G's loss is the only one."""
    found = {name: own for name in columns if (own := _matching(_AUTHORS, name)) and own not in taken}
    if "G/loss" not in taken or any(own and own.startswith("D/loss") for own in taken):
        found = {name: own for name, own in found.items() if own != "D/loss"}
    critic = {name for name in found if normalise_name(name) in ("c1", "c2")}
    return found if len(critic) == 2 else {name: own for name, own in found.items() if name not in critic}


def split_networks(columns: Iterable[str]) -> list[str]:
    """loss_D1, loss_D2, …: the losses of several Ds, where none is called D's alone."""
    columns = list(columns)
    if any(own and own.startswith("D/loss") for own in map(translate, columns)):
        return []
    bases = {name: re.sub(r"[_ .-]?\d(?=$|[_ /.-])", "", name) for name in columns}
    found = [name for name, base in bases.items() if base != name and translate(base) == "D/loss"]
    return found if len(found) > 1 else []


def to_columns(pairs: Mapping[str, str]) -> dict[str, str]:
    """{name in the log: name in Ganvas} from {"d_loss": NAME, "g_loss": NAME, "step": NAME}.

    Of two GANs, as CycleGAN's, the roles are d_loss_A, g_loss_A, d_loss_B and g_loss_B.

    Raises:
        GanvasError: a quantity is not known, or has no name, or one of them is there twice.
    """
    given: dict[str, str] = {}
    for own, name in pairs.items():
        sided = (f"{known} of {side}" for side in _ANY_SIDE if (known := translate(_without_side(own, side) or "")))
        known = translate(own) or time_kind(own) or next(sided, None)
        if not (known and name):
            raise GanvasError(
                f"The columns have '{own}={name}'.",
                expected=f"d_loss=NAME,g_loss=NAME,step=NAME; before each = one of {', '.join(_ROLES)}; "
                "of two GANs d_loss_A, g_loss_A, d_loss_B, g_loss_B",
                fix=did_you_mean(own, _ROLES) or "write the name in the log after the =.",
            )
        if name in given or known in given.values():
            twice = f"'{name}'" if name in given else own
            raise GanvasError(f"The columns have {twice} twice.", expected="each once", fix="leave one of them out.")
        given[name] = known
    return given


def split_pair(name: str) -> tuple[str, str] | None:
    """("Loss D", "Loss G") of `Loss D/G`, whose numbers stand as 0.5/1.2; None for other names."""
    match = re.fullmatch(r"(.*?)\b(\w+) ?/ ?(\w+)\b(.*)", name)
    first, second = (f"{match[1]}{match[i]}{match[4]}" for i in (2, 3)) if match else ("", "")
    return (first, second) if {translate(first), translate(second)} == {"D/loss", "G/loss"} else None


@lru_cache(4096)
def time_kind(name: str) -> str | None:
    """Which of `TIMES` a column is, if any; a speed such as iter/s is none."""
    return None if _SPEED.search(name) else _matching(TIMES, name)


def is_run(name: str) -> bool:
    """Whether the values of a column may tell several trainings apart."""
    return normalise_name(name) in _RUNS


def is_probability(name: str) -> bool:
    """Whether the name itself says that D's output is a probability, as the D(x) of the DCGAN example."""
    return bool(re.fullmatch("dx(?:mean)?|dgz1?(?:mean)?|.*prob.*", normalise_name(name)))


def is_critic(name: str) -> bool:
    """Whether the name says that D is a critic."""
    plain = normalise_name(name)
    return any(word in plain for word in ("critic", "wasserstein", "wgan")) or translate(name) == "D/wasserstein"


def is_evaluation(folder: str) -> bool:
    """Whether a folder holds what was measured on a validation or test split."""
    return bool(_EVALUATION & set(re.split(r"[/_.-]", folder.lower())))


def normalise_name(name: str) -> str:
    """Lower-case letters and digits only, without accents, and the words of other languages in English."""
    plain = name.lower()
    if not plain.isascii():
        letters = unicodedata.normalize("NFKD", plain)
        plain = unicodedata.normalize("NFC", "".join(c for c in letters if not unicodedata.combining(c)))
    plain = _OTHER_WORD.sub(lambda match: str(match.lastgroup), plain)
    return re.sub(r"[\W_]", "", plain)


@cache
def _compiled(pattern: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The pattern by itself, and with prefixes and suffixes that change nothing."""
    return re.compile(pattern), re.compile(f"{_PREFIX}*(?:{pattern}){_SUFFIX}*")


def _matching(table: dict[str, str], name: str) -> str | None:
    short = normalise_name(name)
    if len(short) > _LONGEST:
        return None
    for with_affixes in (False, True):
        for own, pattern in table.items():
            if _compiled(pattern)[with_affixes].fullmatch(short):
                return own
    return None


def _without_folders(name: str) -> str | None:
    """The name in Ganvas of the last parts of `GAN_loss/discrim/loss`; D or G alone, as in `lr/D`, says nothing."""
    parts = re.split(r"[/.]", name)
    for first in range(1, len(parts)):
        rest = "/".join(parts[first:])
        evaluated = _EVALUATION & {part.lower() for part in parts[:first]}
        own = None if re.fullmatch(f"{_D}|{_G}", normalise_name(rest)) else _matching(TABLE, rest)
        if own and own.startswith("D/") and re.fullmatch(_G, normalise_name(parts[first - 1])):
            continue  # G/loss_fake
        if own and (own in SPARSE or not evaluated) and "best" not in name.lower():
            return own
    return None


def _without_side(name: str, side: str) -> str | None:
    """D of D_A, loss_D of loss_D_A, D_loss of D_A_loss, D of dA; None for names without that side."""
    match = re.fullmatch(rf"(.*?)(?:[_/ .-]{side}|(?<=[a-z]){side})(?=$|[_/ .-])(.*)", name)
    return match[1] + match[2] if match else None
