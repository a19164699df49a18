"""A reader of the LaTeX that reports write: enough of TeX's rules to say what pdflatex would stop at."""

from __future__ import annotations

import re

TOKEN = re.compile(r"\\([A-Za-z]+)\*?|\\(.)|([{}$&#^_~])|([^\\{}$&#^_~]+)", re.DOTALL)
MATH = {"pm", "infty", "circ", "diamond", "parallel", "times", "cdot", "to", "leq", "geq", "lambda", "alpha"}
EITHER = {"dag", "ddag", "S", "P", "ldots"}
TEXT = {"textbf", "textasciitilde", "textasciicircum", "textbackslash", "textless", "textgreater", "textbar"}
RULES = {"toprule", "midrule", "bottomrule"}
BODY = {"section", "subsection", "fitting", "smallskip"}


def body(text: str) -> str:
    """Without comments; those of ours are whole lines."""
    return "\n".join(line for line in text.split("\n") if not line.startswith("%"))


def read(text: str) -> None:
    """Read text: braces and formulas nest, every command is known and in its mode, nothing special is bare.

    Raises:
        AssertionError: pdflatex would stop, or would leave something out.
    """
    stack: list[str] = []
    for found in TOKEN.finditer(text):
        word, char, special, plain = found.groups()
        where = text[max(0, found.start() - 30) : found.end() + 10]
        formula = "$" in stack
        if word:
            known = MATH | EITHER if formula else TEXT | EITHER | RULES | BODY
            assert word in known, f"\\{word} {'in a formula' if formula else 'in text'}: {where}"
        elif char:
            assert char in "&%$#_{}", f"\\{char}: {where}"
        elif special == "{":
            stack.append("{")
        elif special == "}":
            assert stack, f"a brace too many: {where}"
            assert stack.pop() == "{", f"a formula without end: {where}"
        elif special == "$":
            if stack and stack[-1] == "$":
                stack.pop()
            else:
                assert not formula, f"a formula in a formula: {where}"
                stack.append("$")
        elif special in ("^", "_"):
            assert formula, f"{special} in text: {where}"
        elif special:
            raise AssertionError(f"bare {special}: {where}")
        else:
            assert all(c.isascii() or (c.isalpha() and c <= "ÿ") for c in plain), f"no letter of pdflatex: {plain}"
            assert "%" not in plain, f"a comment: {where}"
    assert not stack, f"open at the end: {stack}"


def table(text: str) -> list[list[str]]:
    """Cells of a file with one `tabular`, each of which is read by itself."""
    inner = re.fullmatch(
        r"\s*\\begin\{tabular\}\{(l r*|lr*)\}\n\\toprule\n(.*)\\bottomrule\n\\end\{tabular\}\s*", body(text), re.DOTALL
    )
    assert inner, "no tabular"
    columns, lines = len(inner[1]), inner[2].replace("\\midrule\n", "")
    assert inner[2].count("\\midrule\n") == 1
    rows = lines.split(" \\\\\n")
    assert rows.pop() == "", "a row without end"
    for row in rows:
        assert not row.startswith(("*", "[")), f"taken for an argument of the row before: {row}"
    cells = [re.split(r"(?<!\\)&", row) for row in rows]
    for row in cells:
        assert len(row) == columns, f"{len(row)} cells in {columns} columns: {row}"
        for cell in row:
            read(cell)
    return cells


def document(text: str) -> list[str]:
    """Files that a document shows, whose body is read."""
    head, begun, rest = body(text).partition("\\begin{document}\n")
    inner, ended, after = rest.partition("\\end{document}")
    assert begun
    assert ended
    assert not after.strip()
    assert head.startswith("\\documentclass{article}\n")
    for name in ("booktabs", "graphicx", "textcomp"):
        assert f"\\usepackage{{{name}}}" in head
    files = re.findall(r"^\\fitting\{([\w.\-]+)\}$", inner, re.MULTILINE | re.ASCII)
    read(re.sub(r"^\\fitting\{([\w.\-]+)\}$", "", inner, flags=re.MULTILINE | re.ASCII))
    return files
