"""Predictions that were made elsewhere: read from files, checked, put into the order of a split, made a predictive."""
