"""Tables for papers hold what they were given, whatever letters it has."""

from __future__ import annotations

from mair_cli.measure.tables import latex_table, markdown_table

COLUMNS = ["method\nname", "PSNR", "note"]
ROWS = [["a|b_c", "28.42", "50 % & more"], ["d", "–", r"C:\x ± 1"]]


def test_markdown_keeps_columns_apart_and_puts_numbers_to_the_right() -> None:
    lines = markdown_table(COLUMNS, ROWS).splitlines()
    assert lines == [
        "| method name | PSNR | note |",
        "| --- | ---: | --- |",
        r"| a\|b\_c | 28.42 | 50 % & more |",
        r"| d | – | C:\\x ± 1 |",
    ]


def test_latex_escapes_what_would_be_a_command() -> None:
    lines = latex_table(COLUMNS, ROWS).splitlines()
    assert lines[0] == r"\begin{tabular}{lrl}"
    assert r"a|b\_c & 28.42 & 50 \% \& more \\" in lines
    assert r"d & -- & C:\textbackslash{}x $\pm$ 1 \\" in lines
