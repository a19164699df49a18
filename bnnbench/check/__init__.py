"""`bnnbench check`: any method on problems whose answer is known."""
