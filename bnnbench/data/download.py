"""Download of data sets, with a progress bar."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from bnnbench.data.cards import Card
from bnnbench.data.files import check, forms, keep, read, whole
from bnnbench.errors import UserError

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
    import requests
    from pooch import HTTPDownloader

    folder = root / card.folder
    states = {name: check(card, root, name) for name in card.files}
    for name in states:
        if states[name] == "corrupt" and not force:
            read(card, root, name)  # raises the sentence on altered files
    wanted = [name for name in states if states[name] != "ok"]
    local = f"with a local copy, run `bnnbench data import {card.name} PATH`"
    if wanted and not card.url:
        raise UserError(
            f"{wanted[0]} of {card.name} is missing in {folder}, and there is no address from which "
            f"`bnnbench data fetch` could download it; {local}."
        )
    with _Bar(len(wanted), progress) as bar:
        get = HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=TIMEOUT)  # pyright: ignore[reportArgumentType]
        for name in wanted:
            form = forms(card, name)[-1]
            bar.start(f"{card.name}: {form}")
            buffer = BytesIO()
            try:
                get(card.url + form, buffer, None)
            except requests.exceptions.RequestException as error:
                if error.response is not None:
                    error.response.close()  # pooch leaves the connection of a refused file open
                raise UserError(
                    f"Cannot download {form} of {card.name} from {card.url}{form} into {folder} ({_reason(error)}); "
                    f"check the connection and run `bnnbench data fetch {card.name}`, or, {local}."
                ) from error
            if whole(card, name, form, buffer.getvalue()) is None:
                raise UserError(
                    f"The download of {form} of {card.name} from {card.url}{form} does not match its checksum and "
                    f"was not placed in {folder}; try again, or, {local}."
                )
            keep(card, root, name, form, buffer.getvalue())


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
