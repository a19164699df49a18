"""The page that is served, made anew when the database has changed: one at a time, and with a rest after each."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace

from bnnbench.errors import UserError
from bnnbench.reporting.live.shown import Shown, empty, instead, results
from bnnbench.reporting.superseded import Installed
from bnnbench.store.address import Address
from bnnbench.store.pulse import pulse

CHECK_S = 3.0  # at least between two looks at the database
REST = 3  # times as long as a page took to make, before the next: training is to have the machine
BROKEN_S = 60.0  # after an error that nobody foresaw
LOCK_S = 5.0  # the longest wait for another program's lock
END_S = 2.0
BROKEN = "The page could not be made; the terminal of `bnnbench serve` says why."
log = logging.getLogger(__name__)


class Builder:
    """Has the page looked after by a thread, whenever somebody asks for it; nobody asks, nothing is done.

    Args:
        db: only read. installed: as of `bnnbench.reporting.build.build`.
    """

    def __init__(self, db: str | os.PathLike[str], installed: Installed | None = None) -> None:
        self._db, self._installed = db, installed
        self._shown = instead("The page is being made", f"The results of {Address.parse(db)} are being read.", 503)
        self._pulse: str | None = None  # of what is shown
        self._lock, self._due, self._closed = threading.Lock(), 0.0, False
        self._worker: threading.Thread | None = None

    def ask(self, patience: float = 0.0) -> Shown:
        """What is to be shown now.

        Args:
            patience: seconds to wait for a page that is being made; then the earlier one will do.
        """
        with self._lock:
            at_work = self._worker is not None and self._worker.is_alive()
            if not (at_work or self._closed) and time.monotonic() >= self._due:
                self._worker = threading.Thread(target=self._refresh, daemon=True)
                self._worker.start()
            worker = self._worker
        if worker is not None:
            worker.join(patience)
        return self._shown

    def close(self) -> None:
        """Begin nothing any more, and give what is at work a moment to end."""
        with self._lock:
            self._closed, worker = True, self._worker
        if worker is not None:
            worker.join(END_S)

    def _refresh(self) -> None:
        begun, rest = time.monotonic(), CHECK_S
        try:
            self._look()
        except UserError as error:
            self._tell(str(error))
        except Exception:
            log.exception("The page could not be made.")
            self._tell(BROKEN)
            rest = BROKEN_S
        now = time.monotonic()
        self._due = now + max(rest, REST * (now - begun))

    def _look(self) -> None:
        """Make the page, if it is not that of the database as it stands."""
        found = pulse(self._db, LOCK_S)
        if found != self._pulse or self._shown.passing:
            self._shown = results(self._db, self._installed, LOCK_S) if found else empty(self._db)
            self._pulse = found
        elif self._shown.problem:
            self._shown = replace(self._shown, problem="")

    def _tell(self, sentence: str) -> None:
        """Show a problem: beside the page of earlier results, or in its place where there is none."""
        if self._shown.passing:
            self._shown = instead("The results cannot be shown", sentence, 500)
        else:
            self._shown = replace(self._shown, problem=sentence)
