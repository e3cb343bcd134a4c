"""The door: one verb per function; the typed signature is the command line, the docstring is the help.

Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted (state saved). With --json, one JSON object goes to stdout
and everything else to stderr.
"""

import inspect
import sys
from collections.abc import Callable

import tyro

from ganvas.cli.comparison import compare
from ganvas.cli.evaluation import diagnose, evaluate
from ganvas.cli.inspection import data, plot, recipes, sample
from ganvas.cli.output import told
from ganvas.cli.style import style
from ganvas.cli.training import train

VERBS: dict[str, Callable[..., None]] = {
    "train": train,
    "sample": sample,
    "plot": plot,
    "data": data,
    "evaluate": evaluate,
    "diagnose": diagnose,
    "compare": compare,
    "style": style,
    "recipes": recipes,
}


def main() -> None:
    """Opens the door: runs the verb of the command line and exits with its status."""
    sys.exit(told(lambda: _run(sys.argv[1:])))


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print("usage: ganvas VERB …\n")
        for name, verb in VERBS.items():
            print(f"  {name:9} {(inspect.getdoc(verb) or '').splitlines()[0]}")
        print("\nganvas VERB --help says more of one; ganvas --version says which Ganvas this is.")
        return 0 if argv else 2
    if argv[0] == "--version":
        from ganvas import __version__

        print(f"ganvas {__version__}")
        return 0
    if argv[0] not in VERBS:
        print(f"ganvas: '{argv[0]}' is not a verb. Expected one of {', '.join(VERBS)}.", file=sys.stderr)
        return 2
    verb = VERBS[argv[0]]
    if verb is train:
        train(argv[1:])
    else:
        tyro.cli(verb, args=argv[1:], prog=f"ganvas {argv[0]}")
    return 0
