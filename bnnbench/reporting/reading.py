"""The page `reading.md`: what the tables and leaderboards show, the words, and where the numbers come from."""

from __future__ import annotations

from bnnbench.reporting.document import READING, Page, Part
from bnnbench.reporting.escape import escape_markdown
from bnnbench.reporting.external import EXTERNAL
from bnnbench.reporting.page.glossary import GLOSSARY
from bnnbench.reporting.provenance import provenance
from bnnbench.reporting.select import Selection
from bnnbench.reporting.separable import ALPHA
from bnnbench.reporting.tables.text import OLD, WORSE

IN_SHORT = f"""\
* A leaderboard ranks the methods on every data set (1 is the best) and takes the mean. Methods in **bold** cannot be
  told apart from the first; the interval says how the mean rank might be on other data sets of this kind.
* In tables of scores a number is the mean over splits ± its standard error; **bold**: the best and what the data cannot
  separate from it. Compare within a table only: another split rule, budget or version is another experiment.
* Gradients and seconds are those of a cell: one method on one split of one data set. Samples: networks that a
  prediction averages over.
* † failed or missing cells, ‡ unconverged by its own diagnostics, § another target than the task's posterior,
  {WORSE}3/10 worse than `constant` on 3 of 10 splits, {OLD} made by an older version, {EXTERNAL} made elsewhere.
"""
HOW_TO_READ = f"""\
Every table has one row per method and one column per data set. A number is the mean over splits ± its standard error;
where a few splits carry the mean, so that it is further from the median than the quartiles are from each other, the
median stands beside it.

The **bold** numbers of a column are the best one and those that the data cannot separate from it, by a test that in
simulations with normal, unequal and lognormal noise of the folds gives false alarms in at most {100 * ALPHA:.0f} % of
columns (with heavy-tailed noise, Student's t with 3 degrees of freedom, in 22 to 24 %). Not every number competes:
baselines do not (`constant` predicts the same for every input: a method should beat the constant predictor), nor do
those whose mean is worse than a baseline's, nor those with † or ‡.

* {WORSE}3/10: worse than the baseline on three of ten splits; the table "behind the baseline" says where and why.
* † marks cells that failed or are missing: a mean over the splits that a method survived flatters it.
* ‡ marks methods flagged by their own convergence diagnostics, – what was not run or does not apply.
* § marks methods with another target than the task's posterior: another model or prior, be it for the spread of the
  weights alone, or a tempered posterior.
* {OLD} marks what an older version made than the one installed where this report was written.
* {EXTERNAL} marks methods whose predictions were made elsewhere and scored here.

Compare within a table only: another split rule, budget or version is another experiment. The numbers of every table
stand in `tables/`, as CSV in full and as LaTeX; `tables/all.tex` shows them all.
"""
SUPERSEDED = (
    f"What {OLD} marks was made by older versions of methods or tasks than those installed where this report was "
    "written: {}. Newer versions give other numbers; `bnnbench run` makes them."
)
ORIGIN, OLDER = "Where the numbers come from", "Superseded results"


def reading(selection: Selection) -> Page:
    """The page. What is left out of figures is told here: make them first."""
    words = "".join(f"* **{escape_markdown(word)}**: {escape_markdown(meaning)}\n" for word, meaning in GLOSSARY)
    old = str(selection.superseded)
    older = [Part(OLDER, SUPERSEDED.format(escape_markdown(old)) + "\n")] * bool(old)
    parts = [Part("Tables", HOW_TO_READ), Part("Words and marks", words), *older]
    return Page(READING, "How to read this report", "", (*parts, Part(ORIGIN, provenance(selection))))
