"""The counts of a version: written beside its index, mapped by readers."""
