"""Do the parts of a version belong together: its texts, its vectors, its index and its model."""
