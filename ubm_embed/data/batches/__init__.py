"""Sessions in tokens, augmented, and packed into batches without padding."""
