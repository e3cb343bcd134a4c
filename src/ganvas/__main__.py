"""python -m ganvas: the command line."""

from ganvas.interrupts import exit_on_signal


def main() -> None:
    """Runs the command that sys.argv names and exits with its status: 130 after Ctrl-C or SIGTERM, at any time."""
    with exit_on_signal():
        from ganvas.cli import main as run

        run()


if __name__ == "__main__":
    main()
