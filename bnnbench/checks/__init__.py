"""Methods on problems with known answers."""
