"""The command line: one function per command; its typed signature gives the options, its docstring the help.

Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted (state saved). With --json, one JSON object goes to stdout
and everything else to stderr.
"""

import inspect
import sys
from collections.abc import Callable
from contextlib import nullcontext

import tyro

from ganvas.cli.arguments import parse
from ganvas.cli.comparison import compare
from ganvas.cli.evaluation import diagnose, evaluate
from ganvas.cli.exporting import export
from ganvas.cli.inspection import info, inspect_data, list_recipes
from ganvas.cli.latent_space import directions, project
from ganvas.cli.output import escape_unprintable, escaped_controls, only_json, run_reporting_errors
from ganvas.cli.sampling import plot, sample
from ganvas.cli.serving import studio
from ganvas.cli.storage import cache, runs
from ganvas.cli.style_transfer import stylize
from ganvas.cli.tracking import log
from ganvas.cli.training import train
from ganvas.interrupts import raise_on_signal
from ganvas.version import __version__

COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "sample": sample,
    "project": project,
    "directions": directions,
    "plot": plot,
    "data": inspect_data,
    "evaluate": evaluate,
    "diagnose": diagnose,
    "compare": compare,
    "log": log,
    "style": stylize,
    "studio": studio,
    "export": export,
    "recipes": list_recipes,
    "runs": runs,
    "cache": cache,
    "info": info,
}


def main() -> None:
    """Runs the command that sys.argv names and exits with its status."""
    escape_unprintable()
    with escaped_controls(sys.argv[1:]):
        sys.exit(run_reporting_errors(lambda: _run(sys.argv[1:])))


@raise_on_signal()
def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print("usage: ganvas COMMAND …\n")
        for name, command in COMMANDS.items():
            print(f"  {name:10} {(inspect.getdoc(command) or '').splitlines()[0]}")
        print("\nganvas COMMAND --help describes a command; ganvas --version prints the version.")
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"ganvas {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"ganvas: '{argv[0]}' is not a command. Expected one of {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    command = COMMANDS[argv[0]]
    with only_json() if "--json" in argv and "--help" not in argv else nullcontext():
        if command is train:
            train(argv[1:])
        else:
            parse(command, argv[1:], prog=f"ganvas {argv[0]}", config=(tyro.conf.FlagCreatePairsOff,))
    return 0
