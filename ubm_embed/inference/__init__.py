"""Products and sessions to vectors and predictions."""
