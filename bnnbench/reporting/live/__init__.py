"""The page over a database at work: made anew when there are new results, and served."""
