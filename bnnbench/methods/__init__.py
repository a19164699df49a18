"""Inference methods, one file per family; see CONTRIBUTING.md for how to add one."""

from bnnbench.methods.base import METHODS, Method, configure

__all__ = ["METHODS", "Method", "configure"]
