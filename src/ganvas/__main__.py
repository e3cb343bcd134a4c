"""python -m ganvas opens the door."""

from ganvas.cli import main

if __name__ == "__main__":
    main()
