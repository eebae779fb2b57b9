"""Versions of a store: what each is, which answers, and what becomes of the others."""
