"""What a terminal, pipe or file at the other end may not be able to take: some characters, or any more at all."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click


@contextmanager
def survived() -> Iterator[None]:
    """Run a command whatever standard output and error are; an OSError ends it with a sentence and exit status 2."""
    _open_streams()
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, for at its exit the interpreter would say it in its own way
    except OSError as error:
        place = error.filename if error.filename is not None else "A file, pipe or folder"
        if _cut_off(sys.stdout):
            place = "Standard output"
        sentence = f"{place} cannot be used ({error.strerror or error}); check its path, its permissions and the disk."
        with suppress(OSError):
            click.echo(f"Error: {plain(sentence)}", err=True)
        _cut_off(sys.stderr)
        sys.exit(2)


def plain(text: str) -> str:
    """The text in one line of characters that can be shown: others as Python escapes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


@contextmanager
def sentences_for(category: type[Warning]) -> Iterator[None]:
    """Show warnings of a category as sentences, each once."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", category)
        other = warnings.showwarning

        def show(message: Warning | str, kind: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(kind, category):
                click.echo(f"Warning: {plain(str(message))}", err=True)
            else:
                other(message, kind, *place, **more)

        warnings.showwarning = show
        yield


def _open_streams() -> None:
    """No file that is opened later takes the place of a closed stream; characters beyond an encoding are escaped."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _cut_off(stream: Any) -> bool:
    """Whether a stream takes nothing any more; what it holds back is then dropped."""
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        return True
    return False
