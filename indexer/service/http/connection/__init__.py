"""Bytes of a connection to requests, within limits of time and memory."""
