"""Pre-training and fine-tuning, and what both share."""
