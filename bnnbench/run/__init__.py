"""Plan, packs, engine, evaluation and runner.

Empty on purpose: `bnnbench.run` is a function, see `bnnbench/__init__.py`.
"""
