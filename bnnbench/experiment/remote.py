"""A worker process as the run sees it: started, given orders, listened to, ended."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import psutil

from bnnbench.experiment.pack import Order, Stored
from bnnbench.experiment.progress import Watcher
from bnnbench.experiment.shipping import packed
from bnnbench.experiment.threads import IN_WORKER
from bnnbench.experiment.worker import Start
from bnnbench.records import Status

ENDED = "its worker process ended ({}); run again, with fewer --jobs if it ends like that again"
Log = Callable[[str, int, str], None]  # name, level and text of a log record
END_S = 5.0  # after which a worker that was told to end is killed

# Paths come by arguments and not from the environment: the run may have changed its own. Nothing of the user's program
# is imported.
_CODE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = sys.argv[1:]; "
    "from bnnbench.experiment.worker import main; main()"
)
# One thread from the beginning, also of libraries that count cores when they are loaded; and none that is bound to a
# core, which would be the same one for all workers.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_PROC_BIND": "false", IN_WORKER: "1"}


class Refused(Exception):
    """The worker cannot import what a pack is made of."""


class Unavailable(Exception):
    """No worker can be started here."""


class Lost(Exception):
    """The worker is gone, as a machine of a cluster may be, by no fault of the pack, which can be done elsewhere."""


class Died(Exception):
    """The worker ended in the middle of a pack, whose cells get this status and the message."""

    status = Status.FAILED


class Overdue(Died):
    """It was ended, for its time was over."""

    status = Status.TIMEOUT


def listened(messages: Iterable[tuple[str, tuple[Any, ...]]], watcher: Watcher, log: Log) -> Iterator[Stored]:
    """What a worker says while it carries out a pack, until it is done.

    Raises:
        Refused: it cannot have the pack. And whatever it raised.
    """
    for kind, content in messages:
        match kind:
            case "phase" | "updates":
                getattr(watcher, kind)(*content)
            case "stored":
                yield content[0]
            case "done":
                return
            case "text":
                print(*content, file=sys.stderr)
            case "log":
                log(*content)
            case "refused":
                raise Refused(*content)
            case "raised":
                raise content[0]


class Worker:
    """A worker process, started again where it died.

    Args:
        log: takes a log record of the worker: name, level, text.
    """

    def __init__(self, start: Start, log: Log) -> None:
        self._start, self._log, self._ready, self._busy = start, log, False, False
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it, in place of one that has ended.

        Raises:
            Unavailable: the system gives no further process.
        """
        self.join()
        self._ready = False
        options = [f"-W{option}" for option in sys.warnoptions]
        command = [sys.executable, *options, "-c", _CODE, *map(str, sys.path)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | _ENVIRONMENT
            )
        except OSError as error:
            raise Unavailable(str(error)) from error
        self._send(packed(self._start))

    def carry_out(self, order: Order, watcher: Watcher) -> Iterator[Stored]:
        """Have a pack trained, scored and stored.

        Raises:
            NotPortable, Refused: the worker cannot have it. Died, Unavailable: there is no worker any more.
        """
        message, self._busy = packed(order), False
        if not self.running:
            self.begin()
        self._send(message)
        yield from listened(self._messages(), watcher, self._log)

    def _messages(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        while True:
            kind, content = self._receive()
            self._ready |= kind == "ready"
            self._busy |= kind == "begun"
            yield kind, content

    def _send(self, message: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # it has ended, which is seen when it is listened to
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def _receive(self) -> tuple[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            self.join()
            how = _ending(self._process.returncode)
            raise (Died(ENDED.format(how)) if self._ready else Unavailable(how)) from None

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Its number, None where it is not running."""
        return None if self._process is None else self._process.pid

    @property
    def busy(self) -> bool:
        """Whether it has begun with the order that it was given, all imported."""
        return self._busy

    def kill(self) -> None:
        """End it at once, with the processes that it started."""
        if self._process is not None:
            with suppress(psutil.Error):
                for child in psutil.Process(self._process.pid).children(recursive=True):
                    with suppress(psutil.Error):
                        child.kill()
            self._process.kill()

    def end(self) -> None:
        """Tell it to end."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):  # what it was not told yet
                self._process.stdin.close()

    def join(self) -> None:
        """Wait for its end, not for long."""
        if self._process is None:
            return
        self.end()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _ending(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"{name}, as when memory runs out" if name == "SIGKILL" else name
