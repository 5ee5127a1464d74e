"""Tables as text for papers and pages: Markdown (GitHub's) and LaTeX (with `booktabs`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["latex_table", "markdown_table"]

_NUMBER: Final = re.compile(r"[+−-]?[\d.,]+(e[+-]\d+)?%?( ± [\d.]+)?|∞|–|")
_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "∞": r"$\infty$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "σ": r"$\sigma$",
    "–": "--",
    "⁹": r"\textsuperscript{9}",
}


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as GitHub and most other tools read it, columns of numbers to the right; ends with a line break."""
    marks = ["---:" if right else "---" for right in _to_the_right(rows, len(columns))]
    lines = [[_in_markdown(cell) for cell in row] for row in (columns, *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (lines[0], marks, *lines[1:]))


def latex_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A `tabular`, columns of numbers to the right; it needs `\\usepackage{booktabs}`; ends with a line break."""
    layout = "".join("r" if right else "l" for right in _to_the_right(rows, len(columns)))
    head, *body = [" & ".join(_in_latex(cell) for cell in row) + r" \\" for row in (columns, *rows)]
    lines = [rf"\begin{{tabular}}{{{layout}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _to_the_right(rows: Sequence[Sequence[str]], columns: int) -> list[bool]:
    return [all(_NUMBER.fullmatch(row[column]) for row in rows) for column in range(columns)]


def _in_markdown(cell: str) -> str:
    return re.sub(r"([\\|*_`<\[])", r"\\\1", " ".join(cell.split()))


def _in_latex(cell: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(cell.split()))
