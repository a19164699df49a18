"""What a run says while it works: one display over all that work at once, plain lines where there is no terminal."""

import io
import re

from rich.console import Console

from bnnbench.experiment.progress import RunProgress


def shown(terminal: bool, quiet: bool = False) -> list[str]:
    """The lines that two processes leave behind, the last picture of a live display included."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with RunProgress(console, packs=3, work=90, quiet=quiet) as progress:
        first, second = progress.line(), progress.line()
        first.begin("ensemble-deep, diabetes", cells=1, steps=30)
        second.begin("map, digits", cells=2, steps=30)
        first.phase("compiling")
        second.phase("training")
        second.updates(15)
        first.stored("diabetes 10fold ensemble-deep: 1 ok (2.0 s)", 30)
        first.begin("map, diabetes", cells=1, steps=30)
        first.phase("scoring")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_plain_lines():
    assert shown(False) == [
        "compiling 1 of 3: ensemble-deep, diabetes, 0 s in all",
        "[1/3] diabetes 10fold ensemble-deep: 1 ok (2.0 s), 0 s in all, about 0 s left",
    ]


def test_a_terminal_shows_who_does_what():
    text = "\n".join(shown(True))
    assert "[1/3] diabetes 10fold ensemble-deep: 1 ok (2.0 s), 0 s in all" in text
    scoring, training, total = text.splitlines()[-3:]
    assert "scoring 3 of 3: map, diabetes" in scoring
    assert "training 2 of 3: map, digits (15 of 30 updates)" in training
    assert total.startswith("1 of 3 packs")
    assert "60/90 updates" in total  # 30 of the first, 15 of each of two cells of the second


def test_quiet():
    assert shown(True, quiet=True) == shown(False, quiet=True) == []
