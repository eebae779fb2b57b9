"""Answers over HTTP from the live version of a store: events in, next products out."""
