"""Many runs of the command line at little cost: one process imports everything once and forks for each of them.

A run can be told to die by SIGKILL at a moment inside one of its writing transactions.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


class Forks:
    """Runs of the command line; a context manager."""

    def __enter__(self) -> Forks:
        command = [sys.executable, str(Path(__file__).resolve())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=60)

    def run(self, arguments: list[str], log: Path, copies: int = 1, **death: Any) -> list[int]:
        """Run the command line in so many processes at once; returns their exit statuses, -9 for the killed.

        Args:
            log: file for what they say.
            death: `transaction` to die in, counted from 1, and when: before its `statement`, counted from 0, or at the
                commit if it has no so many; or `delay` seconds after its beginning, which may be too late. A file
                `marks` then ends with B if it began and did not end.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"arguments": arguments, "log": str(log), "copies": copies, "death": death}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def _serve() -> None:
    import torch

    import bnnbench.api  # noqa: F401 (all that a run needs)

    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        children = [_fork(request) for _ in range(request["copies"])]
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)


def _fork(request: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        from bnnbench.cli import main

        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if request["death"]:
            _Death(**request["death"]).listen()
        sys.argv = ["bnnbench", *request["arguments"]]
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        os._exit(status)


class _Death:
    """Kills this process inside a writing transaction, and leaves a trace of where that was."""

    def __init__(self, transaction: int, marks: str, statement: int | None = None, delay: float | None = None) -> None:
        self.transaction, self.statement, self.delay = transaction, statement, delay
        self.marks = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.begun, self.inside, self.statements = 0, False, 0

    def listen(self) -> None:
        from sqlalchemy import Engine, Pool, event

        event.listen(Engine, "after_cursor_execute", self._after)
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "commit", lambda connection: self._due(at_commit=True))
        event.listen(Pool, "checkin", lambda *_: self._end())

    def _after(self, _: Any, __: Any, statement: str, *more: Any) -> None:
        if statement == "BEGIN IMMEDIATE":
            self.begun, self.inside, self.statements = self.begun + 1, True, 0
            os.write(self.marks, b"B")
            if self.delay is not None and self.begun == self.transaction:
                threading.Thread(target=self._later, daemon=True).start()

    def _before(self, _: Any, __: Any, statement: str, *more: Any) -> None:
        if self.inside:
            self._due()
            self.statements += 1

    def _due(self, at_commit: bool = False) -> None:
        here = self.inside and self.begun == self.transaction and self.statement is not None
        if here and (at_commit or self.statements == self.statement):
            os.kill(os.getpid(), signal.SIGKILL)

    def _later(self) -> None:
        time.sleep(self.delay or 0.0)
        os.kill(os.getpid(), signal.SIGKILL)

    def _end(self) -> None:
        if self.inside:
            self.inside = False
            os.write(self.marks, b"E")


if __name__ == "__main__":
    _serve()
