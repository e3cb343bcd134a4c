"""Error messages, JSON output and exit statuses of the command line."""

import errno
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from ganvas.errors import GanvasError
from ganvas.terminal import PrintableStream, escape_in_console, escaped_names, printable, unwrapped


class UsageError(GanvasError):
    """Options that contradict each other: exit status 2."""


def refuse_together(first: str, given: bool, *others: tuple[str, bool]) -> None:
    """Refuses an option with any of the others.

    Raises:
        UsageError: both were given.
    """
    if clash := [option for option, too in others if given and too]:
        raise UsageError(f"{first} and {clash[0]} were given together.", fix="leave one of them out.")


def run_reporting_errors(act: Callable[[], Any]) -> int:
    """Runs `act`, prints its GanvasError or interruption without a traceback, and returns the exit status."""
    escape_unprintable()
    try:
        try:
            status = act()
        except SystemExit as end:
            status = end.code
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except GanvasError as error:
        who = f"rank {os.environ['RANK']}: " if os.environ.get("RANK", "0") != "0" else ""
        print(f"ganvas: {who}{printable(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except ImportError as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        package = (error.name or frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in ("ganvas", "", "__main__"):
            raise
        print(
            f"ganvas: {package} cannot be imported: {_first_line(error)}\n"
            f"Fix: reinstall it; ganvas info lists what is broken.",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:  # the reader of stdout has closed it, as in `ganvas … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print("ganvas: A path is too long.\nExpected: names of at most 255 bytes", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, NotImplementedError) and (explanation := _explain_device(error)):
            print(f"ganvas: {printable(str(explanation))}", file=sys.stderr)
            return 1
        if not isinstance(error, MemoryError) and "memory" not in f"{type(error).__name__} {error}".lower():
            raise
        print(
            f"ganvas: There is not enough memory. {_first_line(error)}\nFix: fewer or smaller images at a time.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"ganvas: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        exec("")  # Python forgets one that fell into an exec, as of a dataclass: else `-m` ends by SIGINT, not by 130
        return 130


def _explain_device(error: NotImplementedError) -> GanvasError | None:
    """What to do where PyTorch lacks an operation on this device."""
    from ganvas import devices  # imports PyTorch, which is loaded where this is its error

    return devices.explain_missing_operation(error)


_json_output: TextIO | None = None


@contextmanager
def only_json() -> Iterator[None]:
    """Leaves stdout to `print_json` in the block: other output, as of the user's own networks, goes to stderr."""
    global _json_output
    _json_output = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _json_output = None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def make_console() -> Any:
    """The rich console on stdout; a closed pipe raises BrokenPipeError, as it does for `print`."""
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise

    return escape_in_console(PipeConsole(highlight=False))


def print_json(value: Any) -> None:
    output = unwrapped(_json_output or sys.stdout)
    utf8 = (output.encoding or "utf-8").lower() in ("utf-8", "utf8")
    print(json.dumps(value, ensure_ascii=not utf8), file=output)


@contextmanager
def escaped_controls(words: Sequence[str]) -> Iterator[None]:
    """Prints control characters, as in names of files, as escapes in the block.

    Args:
        words: of the command line, whose paths may have line feeds too.
    """
    out, err = (cast(TextIO, PrintableStream(stream)) for stream in (sys.stdout, sys.stderr))
    with escaped_names(words), redirect_stdout(out), redirect_stderr(err):
        yield


def escape_unprintable() -> None:
    r"""Prints characters that a stream's encoding lacks as escapes: \udcff of a file name that is not UTF-8.

    In JSON such an escape stands for the character itself.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
