"""Readers of the shapes in which events are sent."""
