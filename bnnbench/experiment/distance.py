"""A store at a distance: what a worker that cannot reach the database says of a pack, for the run to record.

A worker process of the same machine writes into the database itself. To one on another machine it may be out of reach,
and an SQLite file on a network's file system is no place for several writers; so it sends what it would write, and the
run records it, one transaction a pack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from bnnbench.records import EvaluationRecord, Outcome


class Recorder(Protocol):
    """What carrying out a pack needs of a `ResultStore`."""

    def record(self, session_id: int, outcomes: Sequence[Outcome], owner: str, force: bool) -> Any: ...

    def add_evaluations(self, fingerprint: str, evaluations: Iterable[EvaluationRecord]) -> int: ...


class DistantStore:
    """A `Recorder` whose calls are sent.

    Args:
        send: takes the name of the method, and its arguments.
    """

    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send

    def record(self, session_id: int, outcomes: Sequence[Outcome], owner: str, force: bool) -> None:
        """As of a `ResultStore`."""
        self._send("record", session_id, outcomes, owner, force)

    def add_evaluations(self, fingerprint: str, evaluations: Iterable[EvaluationRecord]) -> int:
        """As of a `ResultStore`; all of them count as stored."""
        sent = list(evaluations)
        self._send("add_evaluations", fingerprint, sent)
        return len(sent)


WRITES = frozenset({"record", "add_evaluations"})


def write(store: Recorder, kind: str, content: tuple[Any, ...]) -> None:
    """What a distant store was told."""
    getattr(store, kind)(*content)
