"""Reports: tables and figures from the database alone. No torch, no method."""
