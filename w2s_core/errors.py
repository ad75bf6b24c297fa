"""Errors that a user can cause. Each message is one line: what is wrong, where, what would be right."""


class UserError(Exception):
    """Something the user can mend; the command line prints the message alone and exits with status 2."""


def describe(error: OSError) -> str:
    """One line for what the operating system refused, and where."""
    places = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return (
        f"{places or 'a file or a connection'}: {error.strerror or error}; nothing that was finished is lost: "
        "when that is mended, the same command goes on"
    )


class StopBranch(UserError):
    """A stage left nothing to go on with (an empty selection, say): the steps that need it cannot run."""
