"""Texts of products and search phrases to token ids."""
