"""Vectors and models in formats that other engines read."""
