"""The licences that a model on the Hugging Face hub may have, by their names there."""

from ganvas.errors import GanvasError, did_you_mean

COMMON = ("mit", "apache-2.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0")

LICENCES = frozenset(
    (
        *COMMON, "afl-3.0", "agpl-3.0", "artistic-2.0", "bigcode-openrail-m", "bigscience-bloom-rail-1.0",
        "bigscience-openrail-m", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "c-uda", "cc",
        "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
        "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cdla-permissive-1.0",
        "cdla-permissive-2.0", "cdla-sharing-1.0", "creativeml-openrail-m", "ecl-2.0", "epl-1.0", "epl-2.0",
        "etalab-2.0", "eupl-1.1", "eupl-1.2", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-2.1",
        "lgpl-3.0", "lppl-1.3c", "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "ofl-1.1", "openrail", "osl-3.0", "pddl",
        "postgresql", "unlicense", "wtfpl", "zlib",
    )
)  # fmt: skip


def check_licence(name: str | None, given: str = "") -> str:
    """The name of a licence as the hub writes it.

    Args:
        name: what was chosen.
        given: the licence under which the weights are given already, which stays; empty where there is none.

    Raises:
        GanvasError: none was chosen, the hub knows no such licence, or the weights are given under another one.
    """
    common = f"{', '.join(COMMON)}, or another of the hub's"
    if given and name is not None and name.lower() != given:
        raise GanvasError(
            f"--licence is {name}, and the generator is given under {given}.",
            expected="the licence that it has",
            fix="leave --licence out.",
        )
    name = given if given and name is None else name
    if name is None:
        raise GanvasError(
            "A generator for the hub has a licence, which only you can choose.",
            expected=common,
            fix="--licence cc-by-4.0, if the licence of your training data allows that.",
        )
    if name.lower() not in LICENCES:
        raise GanvasError(f"The hub knows no licence {name!r}.", expected=common, fix=did_you_mean(name, LICENCES))
    return name.lower()
