"""Passwords of database URLs never leave the process: neither into the database nor onto a screen."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence


def _patterns(any_: str, value: str) -> list[re.Pattern[str]]:
    """`scheme://user:PASSWORD@` up to the last @, for a password that was not percent-encoded may hold one; then
    `?password=PASSWORD`, and libpq's other names for such things."""
    names = r"\b(?:ssl|pg|db)?(?:password|passwd|pwd|secret|token)="
    return [
        re.compile(rf"([a-z][a-z0-9+.-]*://(?:(?![:/\s]){any_})*:){any_}*(@)", re.IGNORECASE),
        re.compile(rf"({names}){value}+()", re.IGNORECASE),
    ]


_TEXT = _patterns(r"[^\s'\"]", r"[^&\s'\"]")
_WORD = _patterns(r"[\s\S]", r"[^&]")


def masked(text: str) -> str:
    """A text with *** for the passwords of the URLs in it."""
    return _without(_TEXT, text)


def masked_word(word: str) -> str:
    """The same of one word, such as a command's argument, in which a password may hold spaces and quotes."""
    return _without(_WORD, word)


def masked_command(command: str) -> str:
    """The same of a command as a shell takes it."""
    try:
        words = shlex.split(command)
    except ValueError:  # no shell's
        return masked(command)
    hidden = [masked_word(word) for word in words]
    return command if hidden == words else shlex.join(hidden)


def _without(patterns: Sequence[re.Pattern[str]], text: str) -> str:
    for pattern in patterns:
        text = pattern.sub(r"\1***\2", text)
    return text
