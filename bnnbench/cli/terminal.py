"""What a terminal, pipe or file at the other end may not be able to take: some characters, or any more at all."""

from __future__ import annotations

import errno
import io
import os
import signal
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
        os.getcwd()  # libraries end without a word where it is gone
        try:
            yield
        finally:
            sys.stdout.flush()  # here, for at its exit the interpreter would say it in its own way
    except OSError as error:
        nameless = "The working directory" if error.errno == errno.ENOENT else "Standard output"
        place, reason = error.filename or nameless, error.strerror or str(error)
        with suppress(OSError):
            click.echo(f"Error: {plain(f'{place} cannot be used ({reason}); give another.')}", err=True)
        for stream in (sys.stdout, sys.stderr):
            _drop(stream)
        sys.exit(2)


@contextmanager
def ended_by_interrupt() -> Iterator[None]:
    """What goes on until Ctrl-C: that is its end, and no fault."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(err=True)  # after the ^C


@contextmanager
def held_interrupts() -> Iterator[None]:
    """An interrupt counts at the end alone, and a second one at once: libraries that are interrupted while they close
    something print a traceback."""
    asked: list[int] = []

    def hold(number: int, frame: Any) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


def plain(text: str) -> str:
    """The text in one line of characters that can be shown: others as Python escapes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


@contextmanager
def sentences_for(*categories: type[Warning]) -> Iterator[None]:
    """Show warnings of some categories as sentences, each once."""
    with warnings.catch_warnings():
        for category in categories:
            warnings.simplefilter("always", category)
        other = warnings.showwarning

        def show(message: Warning | str, kind: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(kind, categories):
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
    sys.stdout, sys.stderr = (s or open(os.devnull, "w", encoding="utf-8") for s in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop(stream: Any) -> None:
    """Drop what a stream that takes nothing any more holds back: the interpreter would try to write it at its end."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError, ValueError), open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
