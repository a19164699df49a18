"""What is learned: the problem a method sees, likelihoods, priors, predictive distributions."""

from bnnbench.model.autoencoder import AutoencoderProblem
from bnnbench.model.density_problem import DensityProblem, EnergyProblem
from bnnbench.model.likelihoods import Categorical, Heteroscedastic, Homoscedastic, Likelihood, Params
from bnnbench.model.predictive import CategoricalPredictive, DensityPredictive, GaussianPredictive, Predictive
from bnnbench.model.predictive_forms import BinnedPredictive, QuantilePredictive, SamplePredictive
from bnnbench.model.priors import GaussianPrior, LaplacePrior, Prior, ScaleMixturePrior
from bnnbench.model.problem import Batch, Problem, Rows, Table
from bnnbench.model.truth import DensityTruth, NormalTruth, Truth

__all__ = [
    "AutoencoderProblem",
    "Batch",
    "BinnedPredictive",
    "Categorical",
    "CategoricalPredictive",
    "DensityPredictive",
    "DensityProblem",
    "DensityTruth",
    "EnergyProblem",
    "GaussianPredictive",
    "GaussianPrior",
    "Heteroscedastic",
    "Homoscedastic",
    "LaplacePrior",
    "Likelihood",
    "NormalTruth",
    "Params",
    "Predictive",
    "Prior",
    "Problem",
    "QuantilePredictive",
    "Rows",
    "SamplePredictive",
    "ScaleMixturePrior",
    "Table",
    "Truth",
]
