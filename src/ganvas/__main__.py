"""python -m ganvas: the command line."""

from ganvas.cli import main

if __name__ == "__main__":
    main()
