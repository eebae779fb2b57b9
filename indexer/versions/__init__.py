"""The versions of a store: their manifests, which one is live, tags, history, rollback and pruning."""
