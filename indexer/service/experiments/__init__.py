"""Which answer a session gets in an experiment, and what the answers did."""
