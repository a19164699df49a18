"""The exceptions and warnings that are shown to a user as a sentence instead of a traceback."""

import sys
import traceback
from pathlib import Path

_OURS, _INSTALLED = str(Path(__file__).parent), ("site-packages", "dist-packages", str(Path(sys.base_prefix) / "lib"))


def told(error: BaseException) -> str:
    """Type and message of an error without a full stop, and where it was raised if that was in somebody's own code."""
    own = [
        frame for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_OURS) and not any(part in frame.filename for part in _INSTALLED)
    ]  # fmt: skip
    place = f" (line {own[-1].lineno} of {Path(own[-1].filename).name}, in {own[-1].name})" if own else ""
    return f"{type(error).__name__}: {error}".rstrip(": .") + place


class UserError(Exception):
    """Bad input or a condition the user can remedy; the command line prints it and exits with status 2.

    The message is one clear sentence that names the thing and the remedy.
    """


class StorageError(UserError):
    """A file that cannot be read or written, as on a full disk: the cell at work is not to blame for it."""


class RenamedWarning(FutureWarning):
    """A former spelling of an argument, which still works; the command line shows it as a sentence."""
