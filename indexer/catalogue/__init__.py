"""A version's products, read by mapping the version's files: by id, by position, and by conditions in SQL."""
