"""The page as one file: template, styles, scripts of libraries and of ours, data; a policy that allows nothing else.

The libraries' JavaScript comes with their Python packages: Vega-Lite with vl-convert-python, DataTables with itables.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from bnnbench.reporting.page.compact import packed
from bnnbench.reporting.page.glossary import GLOSSARY
from bnnbench.reporting.page.payload import payload
from bnnbench.reporting.select import Selection

ASSETS = Path(__file__).with_name("assets")
OURS = (
    "state", "dom", "model", "charts", "board", "ranks", "compare", "dataset", "curves", "method", "shifts", "nearness",
    "tables", "provenance", "main",
)  # fmt: skip
LIVE = ("live",)  # of a page that a server gives


def page(selection: Selection) -> str:
    """`index.html` of a selection."""
    return rendered(packed(payload(selection)))


def live_page(selection: Selection) -> tuple[str, str]:
    """The same as a server gives it: it asks where it came from whether there are new results. And its state, the text
    that tells it from pages of other results."""
    data = packed(payload(selection))
    state = state_of(data)
    return rendered(data, state), state


def state_of(content: str) -> str:
    """A short text that names a content."""
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def rendered(data: str, state: str = "") -> str:
    """The page around packed data; names in it are data, which no template and no parser of markup ever sees.

    Args:
        state: of a page that asks for news; empty for a file, which asks nobody.
    """
    live = bool(state)
    return framed(
        "page.html",
        [vega(), data_tables(), ours(*LIVE * live)],
        ["page.css", *["live.css"] * live],
        asks=live,
        state=state,
        payload=data,
        glossary=GLOSSARY,
    )


def framed(template: str, scripts: list[str], styles: list[str], *, asks: bool, **values: object) -> str:
    """A page of ours with its policy.

    Args:
        styles: files of `assets`. asks: whether its scripts may ask the server that it came from, and nobody else.
    """
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, keep_trailing_newline=True)
    texts = [_read(name) for name in styles]
    return environment.get_template(template).render(
        policy=policy(scripts, texts) + "; connect-src 'self'" * asks,
        scripts=[Markup(text) for text in scripts],
        styles=[Markup(text) for text in texts],
        **values,
    )


def policy(scripts: list[str], styles: list[str]) -> str:
    """Nothing is loaded and nothing is evaluated: only these scripts and styles run, by their hashes."""
    return (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashes(texts: list[str]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


@cache
def vega() -> str:
    """Vega, Vega-Lite and vega-embed, as `vegaEmbed` of the window."""
    import vl_convert

    return _inline(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


@cache
def data_tables() -> str:
    """DataTables with its buttons, as `DataTable` of the window: a script in a page has nobody to export to."""
    import itables

    text = (Path(itables.__file__).parent / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    exported = re.search(r"export\s*\{[^}]*?([\w$]+) as default[^}]*\};?", text)
    if exported is None:
        raise RuntimeError("itables has changed the form of its bundle; this bnnbench works with itables 2")
    return _inline(text.replace(exported[0], f"window.DataTable={exported[1]};"))


def ours(*more: str) -> str:
    """Our own scripts, one after the other in one scope."""
    return script(*OURS, *more)


def script(*names: str) -> str:
    """Scripts of `assets`, one after the other in one scope."""
    return _inline("\n".join(_read(f"{name}.js") for name in names))


def _read(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _inline(script: str) -> str:
    """As it may stand in a page, where these letters would end or swallow it; and with the line ends that a parser of
    HTML makes of all, for the hash is of those."""
    script = script.replace("\r\n", "\n").replace("\r", "\n")
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
