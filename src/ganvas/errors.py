"""The one exception a user may meet: what happened, what was expected, how to mend it."""


class GanvasError(Exception):
    """A user's mistake, or a fact of the outside world, told so that it can be mended.

    The door (`ganvas.cli`) prints it without a traceback and exits with status 1; bugs of our own stay
    ordinary exceptions.

    Args:
        what: what happened, with the name of the file or knob concerned.
        expected: what would have been right.
        mend: what to do about it.
    """

    def __init__(self, what: str, *, expected: str = "", mend: str = "") -> None:
        self.what, self.expected, self.mend = what, expected, mend
        lines = [what, expected and f"Expected: {expected}", mend and f"To mend it: {mend}"]
        super().__init__("\n".join(line for line in lines if line))
