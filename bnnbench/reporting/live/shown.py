"""What a server gives for its page: the page of the results, or a sentence in its place."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from shlex import quote

from bnnbench.reporting.page.html import framed, live_page, script, state_of
from bnnbench.reporting.select import NoResults, select
from bnnbench.reporting.superseded import Installed
from bnnbench.store.address import Address
from bnnbench.store.snapshot import snapshot


@dataclass(frozen=True)
class Shown:
    """A page, ready to be sent.

    Attributes:
        status: of HTTP.
        body, zipped: its bytes, and the same by gzip.
        tag: another one for other bytes.
        state: another one for other results; an open page compares its own with it.
        passing: it stands in for a page that is to come.
        problem: a sentence, where there is a newer page that cannot be made.
    """

    status: int
    body: bytes
    zipped: bytes
    tag: str
    state: str
    passing: bool = False
    problem: str = ""

    @classmethod
    def of(cls, text: str, state: str, status: int = 200, passing: bool = False) -> Shown:
        """A page of this text."""
        body = text.encode(errors="replace")
        return cls(status, body, gzip.compress(body, 6, mtime=0), f'"{state_of(text)}"', state, passing)


def results(db: str | os.PathLike[str], installed: Installed | None, timeout: float) -> Shown:
    """The page of a database as it stands, of whatever edition; a waiting one where there are no results yet.

    Raises:
        UserError: it cannot be read.
    """
    with snapshot(db, timeout) as store:
        try:
            return Shown.of(*live_page(select(store, installed=installed)))
        except NoResults:
            return empty(db, len(store.running()))


def empty(db: str | os.PathLike[str], running: int = 0) -> Shown:
    """The page of a database without results."""
    address = Address.parse(db)
    if running:
        return instead("No results yet", f"{running} cells are being trained into {address}; none is finished yet.")
    sentence = f"{address} holds no results yet. Fill it, for example by:"
    command = f"bnnbench run --task starter --budget quick --db {quote(str(address))}"
    return instead("No results yet", sentence, command=command)


def instead(title: str, sentence: str, status: int = 200, command: str = "") -> Shown:
    """A page of one sentence, which gives way by itself to the next one."""
    state = state_of(f"{title} {sentence}")
    told = {"title": title, "sentence": sentence, "command": command, "state": state}
    return Shown.of(framed("waiting.html", [script("waiting")], ["page.css"], asks=True, **told), state, status, True)
