"""The exceptions and warnings that are shown to a user as a sentence instead of a traceback."""


class UserError(Exception):
    """Bad input or a condition the user can remedy; the command line prints it and exits with status 2.

    The message is one clear sentence that names the thing and the remedy.
    """


class StorageError(UserError):
    """A file that cannot be read or written, as on a full disk: the cell at work is not to blame for it."""


class RenamedWarning(FutureWarning):
    """A former spelling of an argument, which still works; the command line shows it as a sentence."""
