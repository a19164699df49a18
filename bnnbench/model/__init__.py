"""What is learned: the problem a method sees, likelihoods, priors, predictive distributions."""

from bnnbench.model.likelihoods import Categorical, Heteroscedastic, Homoscedastic, Likelihood, Params
from bnnbench.model.predictive import CategoricalPredictive, GaussianPredictive, Predictive
from bnnbench.model.priors import GaussianPrior, LaplacePrior, Prior, ScaleMixturePrior
from bnnbench.model.problem import Batch, Problem, Rows, Table

__all__ = [
    "Batch",
    "Categorical",
    "CategoricalPredictive",
    "GaussianPredictive",
    "GaussianPrior",
    "Heteroscedastic",
    "Homoscedastic",
    "LaplacePrior",
    "Likelihood",
    "Params",
    "Predictive",
    "Prior",
    "Problem",
    "Rows",
    "ScaleMixturePrior",
    "Table",
]
