"""What a run tells others while they wait for it, and what it waits for itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from bnnbench.errors import UserError
from bnnbench.store.owners import described
from bnnbench.store.store import ResultStore

HEARTBEAT_S = 15.0  # on another machine a claim lapses after 60 s without one
AGAIN_S = 1.0  # after a sign of life that failed, and between two queries of what others do
log = logging.getLogger(__name__)


def awaited(store: ResultStore, fingerprints: Collection[str]) -> str:
    """For whom this process waits, at what and since when."""
    running: Any = store.running()
    held = running[running["fingerprint"].isin(fingerprints)]
    if held.empty:
        return "waiting for another process"
    first = held.iloc[0]
    since = datetime.fromtimestamp(first["claimed"]).astimezone()
    more = f" and {len(held) - 1} more cells" if len(held) > 1 else ""
    what = f"{first['task']} {first['split']} {first['method']}{more}"
    return f"waiting for {described(first['owner'])}, which holds {what} since {since:%Y-%m-%d %H:%M:%S}"


@contextmanager
def heartbeat(store: ResultStore, owner: str) -> Iterator[None]:
    """Signs of life while packs train; on the way out everything still claimed is given back."""
    stop = threading.Event()

    def beat() -> None:
        pause = HEARTBEAT_S
        while not stop.wait(pause):
            try:
                store.heartbeat(owner)
                pause = HEARTBEAT_S
            except Exception as error:  # whatever it is: without this thread the claims of a living process lapse
                log.warning("No sign of life could be given (%s); trying again.", error)
                pause = AGAIN_S

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(UserError):  # who is seen to be dead, or is silent for a minute, holds nothing any more
            store.release(owner)
