"""Methods of other libraries as estimators, one file a library, each used as its documentation tells.

A file imports its library inside the functions that need it, so that every adapter can be listed without it.
"""

# isort: off - in the order of rows in tables
from bnnbench.adapters import sklearn  # noqa: F401
from bnnbench.adapters import laplace_torch  # noqa: F401
from bnnbench.adapters import posteriors  # noqa: F401
from bnnbench.adapters import ivon_opt  # noqa: F401
from bnnbench.adapters import bayesian_torch  # noqa: F401
from bnnbench.adapters import torch_uncertainty  # noqa: F401
from bnnbench.adapters import vbll  # noqa: F401
from bnnbench.adapters import ngboost  # noqa: F401
from bnnbench.adapters import gpytorch  # noqa: F401
from bnnbench.adapters import numpyro  # noqa: F401
