"""One chart of a database as a figure for a paper or a slide."""
