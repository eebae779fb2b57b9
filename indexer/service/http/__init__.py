"""Routes, bodies, keys, limits, errors and metrics."""
