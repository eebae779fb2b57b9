"""Event logs of several formats to a corpus."""
