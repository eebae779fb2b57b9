"""Metrics of a model on unseen sessions, their uncertainty, and simple baselines."""
