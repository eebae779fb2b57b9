"""A diagnosis in pictures: one chart for each kind, a page of its own, PNGs."""
