"""The version of this package, also where nothing else of it is imported."""

__version__ = "0.1.0"
