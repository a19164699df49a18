"""Tables, figures and pages, rebuilt from the database alone. Imports no torch and no method.

Empty on purpose: `bnnbench.report` is a function, see `bnnbench/__init__.py`.
"""
