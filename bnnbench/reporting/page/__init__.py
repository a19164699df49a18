"""The page `index.html`: one file that answers from the database alone, without a server or a network."""
