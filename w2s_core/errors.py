"""Errors that a user can cause. Each message is one line: what is wrong, where, what would be right."""


class UserError(Exception):
    """Something the user can mend; the command line prints the message alone and exits with status 2."""


class StopBranch(UserError):
    """A stage left nothing to go on with (an empty selection, say): the steps that need it cannot run."""
