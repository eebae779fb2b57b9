"""Proposals of mappings, from a look at a sample of a shop's files."""
