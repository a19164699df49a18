"""Download of data sets, with a progress bar."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from bnnbench.data.cards import Card
from bnnbench.data.files import check, forms, keep, read, whole
from bnnbench.errors import UserError

if TYPE_CHECKING:
    from pooch import HTTPDownloader

TIMEOUT = 30.0  # seconds without an answer or a byte


def fetch(card: Card, root: Path, *, force: bool = False, progress: bool = True) -> None:
    """Download what is missing; each file is checked and then moved into place whole.

    Args:
        force: replace files that do not match their checksum.
        progress: show a progress bar on standard error if that is a terminal.

    Raises:
        UserError: no address, no connection, no such file, a timeout, a download or a present file that does not match
            its checksum, a folder that cannot be written.
    """
    from pooch import HTTPDownloader

    states = {name: check(card, root, name) for name in card.files}
    for name in states:
        if states[name] == "corrupt" and not force:
            read(card, root, name)  # raises the sentence on altered files
    wanted = [name for name in states if states[name] != "ok"]
    sources = addresses(card) if wanted else []
    if wanted and not sources:
        raise UserError(
            f"{wanted[0]} of {card.name} is missing in {root / card.folder}, and there is no address from which "
            f"`bnnbench data fetch` could download it; {_local(card)}."
        )
    with _Bar(len(wanted), progress) as bar:
        get = HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=TIMEOUT)  # pyright: ignore[reportArgumentType]
        for name in wanted:
            form = forms(card, name)[-1]
            bar.start(f"{card.name}: {form}")
            keep(card, root, name, form, _download(card, root, name, form, sources, get))


def addresses(card: Card) -> list[str]:
    """The folders on the web that hold a set's files, each ending with a slash, in the order of trial."""
    if not card.torchvision:
        return [card.url] if card.url else []
    from torchvision import datasets  # here, for it takes more than a second

    return list(getattr(datasets, card.torchvision).mirrors)


def _download(card: Card, root: Path, name: str, form: str, sources: list[str], get: HTTPDownloader) -> bytes:
    """The bytes of a file from the first source that gives them unaltered.

    Raises:
        UserError: none does; the sentence is about the first.
    """
    import requests

    faults = []
    for source in sources:
        what, buffer = f"{form} of {card.name} from {source}{form}", BytesIO()
        try:
            get(source + form, buffer, None)
        except requests.exceptions.RequestException as error:
            if error.response is not None:
                error.response.close()  # pooch leaves the connection of a refused file open
            faults.append(
                f"Cannot download {what} into {root / card.folder} ({_reason(error)}); "
                f"check the connection and run `bnnbench data fetch {card.name}`, or, {_local(card)}."
            )
            continue
        if whole(card, name, form, buffer.getvalue()) is not None:
            return buffer.getvalue()
        faults.append(
            f"The download of {what} does not match its checksum and was not placed in {root / card.folder}; "
            f"try again, or, {_local(card)}."
        )
    raise UserError(faults[0])


def _local(card: Card) -> str:
    return f"with a local copy, run `bnnbench data import {card.name} PATH`"


def _reason(error: Exception) -> str:
    """Why a download failed, in a few words; the library's own text runs over many lines."""
    import requests

    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"no answer for {TIMEOUT:.0f} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    return type(error).__name__


class _Bar:
    """Progress over a set's files, with the interface that pooch asks of a bar; silent unless stderr is a terminal."""

    def __init__(self, files: int, show: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        self._progress = Progress(*columns, console=console, disable=not (show and console.is_terminal))
        self._task = self._progress.add_task("", total=None)
        self._files, self._done, self.total = files, 0, 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, what: str) -> None:
        """Begin with the next file."""
        self._done += 1
        self._progress.reset(self._task, description=f"{what} ({self._done} of {self._files})")

    def update(self, n: int) -> None:
        self._progress.update(self._task, advance=n, total=self.total or None)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        """Nothing: the bar goes on to the next file."""
