"""Two-dimensional maps of products and sessions."""
