"""Faults of a store, found and repaired."""
