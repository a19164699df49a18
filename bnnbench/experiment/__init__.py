"""Experiments: plan, run, rescore, with the database."""
