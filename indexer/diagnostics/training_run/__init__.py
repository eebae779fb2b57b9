"""A training run, under way, cut off or finished: its curves, and whether it learns."""
