import numpy as np
import pandas as pd
import pytest
from test_report_statistics import frame

from bnnbench.reporting.comparison import comparison
from bnnbench.reporting.escape import escape_latex, escape_markdown
from bnnbench.reporting.tables.differences import interval_text
from bnnbench.reporting.tables.failures import runs
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.headline import comparison_grid, comparison_numbers, summary_table
from bnnbench.reporting.tables.table import frame_csv
from bnnbench.reporting.tables.text import mean_and_error

VALUES = {"map": [1.0, 1.2, 1.1], "mc_dropout": [1.05, 1.15, 1.12], "sgld": [3.0, None, 3.1], "hmc": [None] * 3}


@pytest.mark.parametrize(
    ("mean", "se", "text"),
    [
        (-2.39123, 0.01234, "−2.391 ± 0.012"),
        (-2.39123, 0.0996, "−2.39 ± 0.10"),
        (12.3456, 1.5, "12.3 ± 1.5"),
        (1234.5, 123.0, "1234 ± 123"),
        (0.00123456, 0.0000123, "0.001235 ± 0.000012"),
        (-0.0001, 0.12, "0.00 ± 0.12"),
        (0.5, 0.0, "0.5000"),
        (-61.234, np.nan, "−61.23"),
        (1.0, 1e-17, "1.000"),
        (0.0, np.nan, "0"),
        (-np.inf, np.nan, "−∞"),
        (np.nan, np.nan, "NaN"),
        (1e-12, 2e-13, "1e−12 ± 2e−13"),
    ],
)
def test_digits_follow_the_standard_error(mean, se, text):
    assert mean_and_error(mean, se) == text


def test_markdown_golden():
    assert comparison_grid(comparison(frame(VALUES), "rmse", better=-1)).markdown() == (
        "| method     |           housing |\n"
        "| ---------- | ----------------: |\n"
        "| map        | **1.100 ± 0.058** |\n"
        "| mc_dropout | **1.107 ± 0.030** |\n"
        "| sgld       |   3.050 ± 0.050 † |\n"
        "| hmc        |                 † |\n"
    )


def test_latex_golden():
    table = comparison(frame(VALUES | {"map": [-1.0, -1.2, -1.1]}), "rmse", better=-1)
    text = comparison_grid(table).latex("Error, 100 %.")
    assert text == (
        "% Error, 100 %.\n% needs \\usepackage{booktabs}\n"
        "\\begin{tabular}{lr}\n\\toprule\nmethod & housing \\\\\n\\midrule\n"
        "map & \\textbf{$-$1.100} $\\pm$ 0.058 \\\\\n"
        "mc\\_dropout & \\textbf{1.107} $\\pm$ 0.030 \\\\\n"
        "sgld & 3.050 $\\pm$ 0.050$^{\\dag{}}$ \\\\\n"
        "hmc & $^{\\dag{}}$ \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def test_csv_is_numeric_and_long():
    lines = frame_csv(comparison_numbers(comparison(frame(VALUES), "rmse", better=-1))).splitlines()
    assert lines[0] == (
        "task,method,mean,se,median,n_splits,best,complete,unconverged,other_target,splits_worse_than_baseline,"
        "splits_judged,superseded"
    )
    assert lines[1].startswith("housing,map,1.1,0.057735")
    assert lines[1].endswith(",1.1,3,True,True,False,False,0,0,False")
    assert lines[4] == "housing,hmc,,,,0,False,False,False,False,0,0,False"


def test_unconverged_is_marked_and_does_not_compete():
    scores = frame({"a": [1.0, 1.2]})
    scores["status"] = "unconverged"
    assert "| 1.10 ± 0.10 ‡ |" in comparison_grid(comparison(scores, "rmse", better=-1)).markdown()


def test_median_and_splits_worse_than_the_baseline_stand_in_the_cell():
    values = {"constant": [10.0] * 10, "sgld": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1e13, 20.0]}
    scores = frame(values)
    scores["baseline"] = scores["method"] == "constant"
    table = comparison(scores, "rmse", better=-1)
    assert "1e+12 ± 1e+12 (median 1.45) ¶2/10 |" in comparison_grid(table).markdown()
    assert "1e+12 $\\pm$ 1e+12 (median 1.45)$^{\\P{}2/10}$" in comparison_grid(table).latex("")
    assert ",1.45,10,False,True,False,False,2,10,False" in frame_csv(comparison_numbers(table))


def test_escapes():
    assert escape_latex("a_b & 5% {x} \\ ~^#$") == (
        r"a\_b \& 5\% \{x\} \textbackslash{} \textasciitilde{}\textasciicircum{}\#\$"
    )
    assert escape_markdown("a|b *c* <d>\n`e`") == r"a\|b \*c\* \<d> \`e\`"


def test_summary_table():

    gap = frame({"map": [2.0]})
    gap["split"] = "gap-0"
    table = summary_table(pd.concat([frame(VALUES), gap, frame({"map": [9.0]}, task="yacht")]), "rmse", better=-1)
    assert list(table.columns) == ["housing [10fold]", "yacht", "housing [gap]"]
    assert table.loc["map", "housing [10fold]"] == "1.100 ± 0.058 *"
    assert table.loc["sgld", "housing [10fold]"] == "3.050 ± 0.050 †"
    assert table.loc["sgld", "yacht"] == "–  "
    assert summary_table(frame(VALUES), "crps", -1).empty


def test_runs():
    assert runs([3, 1, 2, 7, 8, 5]) == "1–3, 5, 7, 8"


def test_a_grid_is_pivoted_from_long_lines():
    """Rows and columns in the order asked for, without those that have no line; a line may bring its own text."""
    lines = pd.DataFrame(
        [
            {"method": "b", "evaluation": "test", "metric": "error", "value": 0.25, "stderr": 0.012, "best": True},
            {"method": "a", "evaluation": "test", "metric": "ece", "value": 0.5, "stderr": np.nan, "mark": "‡"},
            {"method": "b", "evaluation": "grid", "metric": "ece", "text": "1 of 2", "value": 3.0},
        ]
    )
    columns = {("grid", "ece"): "grid: ECE", ("test", "error"): "error", ("test", "ece"): "ECE", ("x", "y"): "never"}
    grid = Grid.from_long(lines, ["a", "b", "c"], columns, ("method", "evaluation", "metric"))
    assert grid.header == ("method", "grid: ECE", "error", "ECE")
    assert grid.rows == (
        ("a", (("–", False, ""), ("–", False, ""), ("0.500", False, "‡"))),
        ("b", (("1 of 2", False, ""), ("0.250 ± 0.012", True, ""), ("–", False, ""))),
    )
    assert grid.renamed(str.upper).rows[0][0] == "A"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.01234, -0.003, 0.0271), "0.012 [−0.003, 0.027]"),
        ((-25345.1, -50000.0, 30.0), "−25345 [−50000, 30]"),
        ((-1909109778.0, -8520042773.0, 4701823217.0), "−1.91e+09 [−8.52e+09, 4.70e+09]"),
        ((5.0, 5.0, 5.0), "5.00"),
    ],
)
def test_intervals_have_as_many_digits_as_they_are_sure_of(values, text):
    assert interval_text(dict(zip(("difference", "low", "high"), values, strict=True))) == text
