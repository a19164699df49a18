"""Mean ranks on one axis, and bars over methods whose ranks differ by less than the critical difference.

Demšar (2006), "Statistical comparisons of classifiers over multiple data sets", JMLR 7; ranks are those of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from bnnbench.errors import UserError
from bnnbench.reporting.figures.paper.asked import Asked, Found, found
from bnnbench.reporting.figures.paper.sheet import Sheet, panels
from bnnbench.reporting.figures.paper.size import Size
from bnnbench.reporting.figures.paper.words import capital, conditions, listed
from bnnbench.reporting.figures.style import INK, Style
from bnnbench.reporting.figures.text import label
from bnnbench.reporting.page.boards import covered, nemenyi
from bnnbench.reporting.page.ranking import Ranking, ranking
from bnnbench.reporting.page.samples import samples
from bnnbench.reporting.page.scopes import Scope, scopes
from bnnbench.reporting.tables.text import words

BAR, NAMED = 0.42, 1.0  # lines of text between two bars, and between two names


@dataclass(frozen=True)
class Ranked:
    """Methods by their mean ranks, lowest first, and the difference that two must have to be told apart."""

    rows: tuple[str, ...]
    means: tuple[float, ...]
    critical: float

    @property
    def cliques(self) -> list[tuple[int, int]]:
        """First and last places of the largest groups of several methods within the critical difference."""
        found: list[tuple[int, int]] = []
        for first, mean in enumerate(self.means):
            last = max(place for place, other in enumerate(self.means) if other - mean <= self.critical)
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return found


def find(asked: Asked) -> Found:
    """Mean ranks of those methods that were run on every data set."""
    scope = _scope(asked)
    metric = metric_of(asked, scope)
    columns, thin = covered(scope.rows, scope.columns(asked.selection, metric))
    if len(columns) < 2:
        raise UserError(
            f"A critical difference is one of mean ranks over several data sets, and {words(metric)} was scored on "
            f"{listed([c.task for c in columns])} alone; name more by --task, or draw `bnnbench figure scores`."
        )
    order = ranking(scope.rows, columns, [samples(asked.selection, column) for column in columns])
    _refuse_absent(asked, order, [column.task for column in columns])
    if order is None or len(order.rows) < 2:
        raise UserError(
            "Fewer than two of these methods were run on all data sets; name others by --methods or --task."
        )
    means = dict(zip(order.rows, order.mean.tolist(), strict=True))
    left = [f"{', '.join(order.absent)} (not run on all of them)"] if order.absent else []
    left += [f"{', '.join(c.task for c in thin)} (few methods were run there)"] if thin else []
    note = f" Left out: {'; '.join(left)}." * bool(left)
    return found(asked, {(row, column.task): means[row] for row in order.rows for column in columns}, note)


def _scope(asked: Asked) -> Scope:
    """All data sets asked for, ranked together."""
    tasks = {task for section in asked.sections for task in section.tasks}
    for scope in scopes(replace(asked.selection, sections=asked.sections, others=())):
        if tasks == {task for section in scope.sections for task in section.tasks}:
            return scope
    names = listed([f"{section.group} ({section.rule}, {section.budget})" for section in asked.sections])
    raise UserError(f"{names} are not ranked together, for they differ; name data sets of one group by --task.")


def metric_of(asked: Asked, scope: Scope) -> str:
    """That asked for, among those of the scope of which one direction is better."""
    return asked.metric_of(scope.metrics, [m for m in scope.metrics if asked.selection.metric(m).better])


def _refuse_absent(asked: Asked, order: Ranking | None, tasks: Sequence[str]) -> None:
    absent = [row for row in asked.rows if order is not None and row in order.absent]
    if asked.named and absent:
        raise UserError(
            f"No mean rank of {listed(absent)}, not run on all of {listed(tasks)}; leave out what lacks data sets, of "
            "--methods or of --task."
        )


def draw(asked: Asked, there: Found) -> Sheet:
    """The better half of the names on the left, the others on the right."""
    size, scope = asked.size, _scope(asked)
    means = {row: there.data[row, there.tasks[0]] for row in there.rows}
    rows = tuple(sorted(means, key=lambda row: means[row]))
    order = Ranked(rows, tuple(means[row] for row in rows), nemenyi(len(rows), len(there.tasks)))
    half = (len(rows) + 1) // 2
    depth = 1.0 + BAR * len(order.cliques) + 0.3 + NAMED * (half - 1) + 0.6
    figure, ((axes,),) = panels(size, 1, 1, (depth + 3.8) * 1.3 * 7 / 72)
    _axis(figure, axes, order, depth, size)
    for place, (first, last) in enumerate(order.cliques):
        y = 0.75 + BAR * place
        axes.plot([order.means[first], order.means[last]], [y, y], color=INK, lw=2.6, solid_capstyle="butt", zorder=3)
    start = 1.0 + BAR * len(order.cliques) + 0.3
    for place, row in enumerate(rows):
        left = place < half
        y = start + NAMED * (place if left else len(rows) - 1 - place)
        _name(axes, row, order.means[place], y, asked.styles[row], size, left=left)
    return Sheet(figure, _caption(asked, there, order, metric_of(asked, scope)))


def _axis(figure: Figure, axes: Axes, order: Ranked, depth: float, size: Size) -> None:
    """Ranks along the top, and the critical difference above them."""
    high = max(float(len(order.rows)), 1 + order.critical)
    axes.set(xlim=(1, high), ylim=(depth, -0.1))
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for side in ("left", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.set_yticks([])
    above = offset_copy(axes.get_xaxis_transform(), figure, y=1.9 * size.line, units="inches")
    axes.plot([1, 1 + order.critical], [1, 1], transform=above, clip_on=False, color=INK, lw=1.2, marker="|", ms=5)
    axes.annotate(f"critical difference {order.critical:.2f}", (1, 1), xycoords=above, va="bottom",
                  xytext=(0, 0.4 * size.small), textcoords="offset points", annotation_clip=False)  # fmt: skip


def _name(axes: Axes, row: str, mean: float, y: float, style: Style, size: Size, *, left: bool) -> None:
    """A line down from the rank, along to the side, and the name with its rank there."""
    edge = axes.get_xlim()[0 if left else 1]
    axes.plot([mean, mean, edge], [0, y, y], color=style.color, lw=1.0, zorder=2, solid_joinstyle="miter")
    axes.plot([mean], [0], color=style.color, marker=style.marker, ms=4, clip_on=False, zorder=4,
              mfc="white" if style.hollow else style.color)  # fmt: skip
    text = f"{label(row)}  {mean:.1f}" if left else f"{mean:.1f}  {label(row)}"
    axes.annotate(text, (edge, y), xytext=(-3 if left else 3, 0), textcoords="offset points", va="center",
                  ha="right" if left else "left", annotation_clip=False)  # fmt: skip


def _caption(asked: Asked, there: Found, order: Ranked, metric: str) -> str:
    told = f"Mean ranks by {words(metric)} of {len(there.rows)} methods over {len(there.tasks)} data sets"
    told += f" ({listed(there.tasks)}; 1 is best). Bars join methods that Nemenyi's test does not tell apart at 5 %:"
    told += f" their mean ranks differ by less than {order.critical:.2f}."
    return capital(f"{told} {conditions(asked.sections)}{there.note}")
