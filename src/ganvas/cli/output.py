"""Error messages, JSON output and exit statuses of the command line."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from ganvas.errors import GanvasError


def run_reporting_errors(act: Callable[[], Any]) -> int:
    """Runs `act`, prints its GanvasError or interruption without a traceback, and returns the exit status."""
    try:
        status = act()
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except GanvasError as error:
        who = f"rank {os.environ['RANK']}: " if os.environ.get("RANK", "0") != "0" else ""
        print(f"ganvas: {who}{error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in f"{type(error).__name__} {error}".lower():
            raise
        first = (str(error).splitlines() or [""])[0]
        print(
            f"ganvas: There is not enough memory. {first}\nFix: fewer or smaller images at a time.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"ganvas: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of stdout has closed it, as in `ganvas … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), file=_json_output or sys.stdout)
