"""Mappings: how the columns of a shop's files become events and products, as TOML."""
