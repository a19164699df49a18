"""The result store: one database that holds every number, its provenance, and all that a report needs.

`records` are what the runner hands over (no SQLAlchemy); `store.ResultStore` writes and reads them.
"""
