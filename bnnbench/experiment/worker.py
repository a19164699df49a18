"""A worker process: carries out the packs that it is given, until its standard input ends.

It belongs to the run that started it, in whose name packs are claimed. When that process is gone, however it ended, so
is the other end of the pipe, and the worker ends at once: what it has stored is whole, and claims of the dead are void.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import psutil

from bnnbench.experiment.attempt import Settings
from bnnbench.experiment.pack import carry_out
from bnnbench.experiment.shipping import NotPortable, unpacked
from bnnbench.registry import PluginWarning
from bnnbench.store.store import ResultStore


@dataclass(frozen=True)
class Start:
    """What a worker is told first.

    Attributes:
        db: address of the database, with its password.
    """

    db: str
    settings: Settings


class Channel:
    """Messages from and to the process that started this one, in place of standard input and output."""

    def __init__(self) -> None:
        self._in, self._out, self._lock = _taken(0, os.devnull), _taken(1, None), threading.Lock()
        self._received: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while True:
                self._received.put(pickle.load(self._in))
        except BaseException:  # the other end is gone
            _end()

    def receive(self) -> bytes:
        """The next message."""
        return self._received.get()

    def send(self, kind: str, *content: Any) -> None:
        """Say something; without anybody who listens, end."""
        try:
            data = pickle.dumps((kind, content))
            with self._lock:
                self._out.write(data)
                self._out.flush()
        except OSError:
            _end()

    def phase(self, name: str) -> None:
        """Part of a Watcher."""
        self.send("phase", name)

    def updates(self, number: int) -> None:
        """Part of a Watcher."""
        self.send("updates", number)


def _taken(number: int, instead: str | None) -> BinaryIO:
    """A standard stream for ourselves; whoever else uses it gets another: standard error, or a file."""
    own = os.dup(number)
    try:
        os.dup2(2 if instead is None else os.open(instead, os.O_RDWR), number)
    except OSError:  # standard error is closed
        os.close(number)
    return os.fdopen(own, "wb" if number else "rb")


def _end() -> None:
    """End at once, and the compilers that are at work, which then leave no half of a file."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.terminate()
    os._exit(0)


class _Told(io.TextIOBase):
    """A text stream whose lines the other process shows."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._begun = channel, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._channel.send("text", line)
        return len(text)

    def writable(self) -> bool:
        return True


class _Logged(logging.Handler):
    """Gives log records to the other process, whose handlers take them."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.WARNING)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        self._channel.send("log", record.name, record.levelno, record.getMessage())


def main() -> None:
    """Work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the run, which then ends us
    channel = Channel()
    sys.stdout = sys.stderr = _Told(channel)
    logging.getLogger().addHandler(_Logged(channel))
    logging.captureWarnings(True)
    warnings.simplefilter("ignore", PluginWarning)  # said by the run itself
    try:
        start: Start = unpacked(channel.receive())
        store = ResultStore(start.db)
        channel.send("ready")
        while True:
            _work(channel, store, start.settings, channel.receive())
    except BaseException as error:
        channel.send("raised", whole(error))
    channel.receive()  # for the end


def _work(channel: Channel, store: ResultStore, settings: Settings, message: bytes) -> None:
    """Carry out one order."""
    try:
        order = unpacked(message)
    except NotPortable as error:
        channel.send("refused", str(error))
        return
    channel.send("begun")
    for stored in carry_out(store, order, settings, channel):
        channel.send("stored", stored)
    channel.send("done")


def whole(error: BaseException) -> BaseException:
    """The error, with its traceback as a note; another one if it cannot be sent."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In a worker process:\n{trace}")
    return error
