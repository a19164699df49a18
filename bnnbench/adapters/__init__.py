"""Methods of other libraries as estimators, one file a library, each used as its documentation tells.

A file imports its library inside the functions that need it, so that every adapter can be listed without it.
"""

from bnnbench.adapters import sklearn  # noqa: F401 - in the order of rows in tables
