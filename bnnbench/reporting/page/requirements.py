"""The packages that the page needs beyond those of the tables: the extra `html`."""

from __future__ import annotations

import importlib.util

NEEDED = ("itables", "jinja2", "vl_convert")
REMEDY = "install them with `pip install 'bnnbench[html]'`"


def lacking() -> list[str]:
    """Those that are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]
