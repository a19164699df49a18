"""Methods of other libraries as estimators, one file a library, each used as its documentation tells.

A file imports its library inside the functions that need it, so that every adapter can be listed without it.
"""

# In the order of rows in tables.
from bnnbench.adapters import sklearn, ngboost, gpytorch  # isort: skip  # noqa: F401
from bnnbench.adapters import torch_uncertainty, bayesian_torch, ivon_opt, vbll, laplace_torch  # isort: skip  # noqa: F401
from bnnbench.adapters import posteriors, numpyro  # isort: skip  # noqa: F401
