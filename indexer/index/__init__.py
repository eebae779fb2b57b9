"""Kinds of index: how one is built, tuned and searched."""
