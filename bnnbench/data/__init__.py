"""Data sets: cards, files, downloads, splits and the arrays that loaders give."""
