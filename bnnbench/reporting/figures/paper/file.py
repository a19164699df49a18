"""A figure as a file, whole or absent; its ending says of which format."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from bnnbench.errors import UserError
from bnnbench.files import write_file
from bnnbench.reporting.figures import style

FORMATS = ("pdf", "svg", "png")
DOTS = 300  # an inch: of PNG, and of dense clouds in vector files


def format_of(path: Path) -> str:
    """By the ending of a file's name.

    Raises:
        UserError: another ending.
    """
    found = path.suffix.lower().removeprefix(".")
    if found not in FORMATS:
        raise UserError(
            f"--out {path} does not end in .pdf, .svg or .png, which tells the format; give it such a name."
        )
    return found


def save(figure: Figure, path: Path) -> None:
    """Write the file, without dates: equal figures have equal bytes.

    Raises:
        StorageError: it cannot be written.
    """
    name = format_of(path)
    with style.drawing():
        data = style.render(figure, (name,), DOTS, DOTS)[name]
    write_file(path, data, "choose another file with --out")
