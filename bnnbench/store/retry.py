"""What failed for a fault that passes by itself is tried again."""

from __future__ import annotations

import functools
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

from bnnbench.store.faults import Passing

TRIES = 8
FIRST_S = 0.1
log = logging.getLogger(__name__)
M = TypeVar("M", bound=Callable[..., Any])


def pauses(longest: float) -> Iterator[float]:
    """Seconds before each further try: twice as long every time, and by chance, so that two do not keep in step."""
    return (min(longest, FIRST_S * 2**k) * (0.5 + secrets.randbelow(1000) / 1000) for k in range(TRIES))


def retried(method: M) -> M:
    """A method of a database that is run anew after a lock, a lost connection or a restart of the server.

    It is one transaction, and one that failed left no trace, so that nothing is stored twice. With pauses of 0.1 s to
    12.8 s a server may be away for 25 s, and a lock may last eight times the timeout.
    """

    @functools.wraps(method)
    def patient(self: Any, *given: Any, **kwargs: Any) -> Any:
        args = [list(arg) if isinstance(arg, Iterator) else arg for arg in given]  # which would be used up
        for number, pause in enumerate(pauses(self.timeout)):
            try:
                return method(self, *args, **kwargs)
            except Passing as fault:
                if not number:
                    log.warning("%s Trying again.", fault)
                time.sleep(pause)
        return method(self, *args, **kwargs)

    return cast(M, patient)
