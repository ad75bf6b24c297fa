"""Errors that a user can cause. Each message is one line: what is wrong, where, what would be right."""

LONGEST = 2_000


class UserError(Exception):
    """Something the user can mend; the command line prints the message alone and exits with status 2."""

    def __str__(self) -> str:
        return one_line(super().__str__())


def one_line(text: str) -> str:
    """Text on one line, without characters that a terminal would act on: these are escaped, as in `repr`."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]}...{text[-LONGEST // 2 :]}"
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(char: str) -> str:
    return char if char.isprintable() else repr(char)[1:-1]


def describe(error: OSError) -> str:
    """One line for what the operating system refused, and where."""
    places = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return one_line(
        f"{places or 'a file or a connection'}: {error.strerror or error}; nothing that was finished is lost: "
        "when that is mended, the same command goes on"
    )


class StopBranch(UserError):
    """A stage left nothing to go on with (an empty selection, say): the steps that need it cannot run."""
