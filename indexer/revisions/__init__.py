"""What changed since a version was published: segments at rest, and a version's products and vectors under them."""
