"""Is an embedding space healthy, what moved between two versions, and why."""
