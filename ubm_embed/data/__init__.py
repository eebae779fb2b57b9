"""A shop's products and sessions: from files and logs to batches and task examples."""
