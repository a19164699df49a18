"""The words of the page, in the order in which a reader meets them."""

GLOSSARY = (
    (
        "rank",
        "Place of a method's mean among all methods of the selection on one data set; 1 is the best, equal means share "
        "theirs. A method with failed or missing cells is last there. The mean rank is over data sets.",
    ),
    (
        "95 % interval of a mean rank",
        "Percentiles of a bootstrap that draws the data sets again with replacement, and the splits within each "
        "(2,000 draws). It says how the ranks might be on other data sets of this kind.",
    ),
    (
        "cannot be told apart",
        "By a stepwise test on aligned ranks (docs/statistics.md), over data sets; on a single data set over its "
        "splits or blocks of test points. In simulations of 5 to 24 equal methods on 6 to 20 data sets, 3 to 8 % of "
        "the selections told one apart that was as good (11 % of those with six data sets, 24 methods and very unequal "
        "noise). Not to be told apart is not to be equal.",
    ),
    (
        "bold",
        "In a table of one data set: the best mean, and those that the same test cannot separate from it on that data "
        "set; baselines and numbers with † or ‡ do not compete.",
    ),
    (
        "green, or not, against the order of ranks",
        "A method of a worse rank may be green and one of a better rank not: the test asks whether a method is "
        "consistently behind, and a small difference in one direction everywhere tells more than a large one that "
        "varies.",
    ),
    (
        "won / tied / lost",
        "Data sets on which a method is better than the reference, not told apart, or worse: the 95 % interval of the "
        "paired difference is above zero, holds it, or is below. The interval is corrected for the overlap of training "
        "rows (Nadeau & Bengio 2003). Each comparison is at 5 %, without correction for their number.",
    ),
    (
        "normalised score",
        "On each data set 1 is the best method, 0 the median one and all worse; then the mean over data sets "
        "(Erickson et al. 2025, TabArena).",
    ),
    (
        "critical difference",
        "Two mean ranks further apart differ by Nemenyi's test at 5 % for all pairs (Demšar 2006).",
    ),
    (
        "better, practically the same, worse",
        "On one data set: the posterior of the Bayesian correlated t-test (Corani & Benavoli 2015); where nothing is "
        "repeated, of a normal difference with independent errors. On all: the Bayesian signed-rank test (Benavoli et "
        "al. 2014), 4,000 draws. Practically the same is a difference of less than 0.01 nats for log densities, and of "
        "less than 1 % of the mean of both for other metrics.",
    ),
    ("log-likelihood", "Mean log density of the test points under the predictive mixture, in the target's own units."),
    (
        "calibration error",
        "How far predicted probabilities are from observed frequencies; that of a constant may be low.",
    ),
    ("gradients", "Minibatch gradients of a cell, of all its networks or chains: a cost that no machine changes."),
    ("samples", "Networks that a prediction averages over, as far as the configuration tells."),
    ("cell", "One method with one configuration on one split of one data set, with one seed, at one budget."),
    (
        "†",
        "Cells failed or are missing; the mean over the splits that a method survived flatters it and is never best.",
    ),
    ("‡", "Flagged by the method's own convergence diagnostics; it has a rank, and is not called the best."),
    ("§", "Another target than the task's posterior: another model or prior, or a tempered posterior."),
    ("¶3/10", "Worse than the baseline on three of ten splits."),
    ("°", "Made by an older version than the one installed where this page was written."),
)
