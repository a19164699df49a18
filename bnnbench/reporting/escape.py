"""Text of a database on its way into a page: one function a format, so that no name turns into markup.

Applied where text enters the format, to whole sentences: the report's own words hold no markup either.
"""

from __future__ import annotations

import re

# An underscore within a word emphasises nothing, brackets before other than these are no link, and & is an entity's
# beginning only where a name and a semicolon follow.
_MARKUP = re.compile(r"[|*<`\\$~]|\](?=[(\[:])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
_BLOCK = re.compile(r"^(#|>|[+\-](?=\s|$)|=+$|-+$)")
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "*": "{*}"}
_LATEX |= {"\\": r"\textbackslash{}", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "±": r"$\pm$", "−": "$-$"}
_LATEX |= {"¶": r"\P{}", "°": r"$^{\circ}$", "◇": r"$\diamond$", "×": r"$\times$", "·": r"$\cdot$", "→": r"$\to$"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}", "…": r"\ldots{}"}
_LATEX |= {"∞": r"$\infty$", "∥": r"$\parallel$", "≤": r"$\leq$", "≥": r"$\geq$", "²": "$^{2}$", "³": "$^{3}$"}
_LATEX |= {'"': "''", "“": "``", "”": "''", "‘": "`", "’": "'", "–": "--", "—": "---"}
_GREEK = (
    "α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta κ kappa λ lambda μ mu ν nu ξ xi π pi ρ rho σ sigma "
    "τ tau φ phi χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta Λ Lambda Π Pi Σ Sigma Φ Phi Ψ Psi Ω Omega"
)
_LATEX |= {letter: f"$\\{name}$" for letter, name in re.findall(r"(\w) (\w+)", _GREEK)}


def one_line(text: str) -> str:
    """The text without line breaks, control characters and what cannot be written as UTF-8."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split()).encode(errors="replace").decode()


def escape_markdown(text: str) -> str:
    """Text that neither breaks a table row nor turns into markup, HTML or a formula."""
    line = _MARKUP.sub(lambda found: "\\" + found.group(), one_line(text))
    return _NUMBERED.sub(r"\1\\\2", _BLOCK.sub(r"\\\1", line))


def alt_text(text: str) -> str:
    """Words for a picture, between brackets of their own."""
    return re.sub(r"(?<!\\)[\[\]]", lambda found: "\\" + found.group(), escape_markdown(text))


def code(text: str) -> str:
    """A code span of Markdown, whatever backticks are in the text."""
    line = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    inner = f" {line} " if "`" in (line[:1], line[-1:]) else line
    return f"{fence}{inner}{fence}" if line else "–"


def escape_latex(text: str) -> str:
    """Text as pdflatex takes it: special characters escaped; those that its fonts lack by their numbers, `[U+6F22]`."""
    return "".join(_LATEX.get(c) or (c if _plain(c) else f"{{[}}U+{ord(c):04X}{{]}}") for c in one_line(text))


def _plain(c: str) -> bool:
    """ASCII, or an accented letter of Western Europe."""
    return c.isascii() or (c <= "ÿ" and c.isalpha() and c not in "ªµº")
