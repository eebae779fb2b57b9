"""Kinds of index, and which of them a catalogue needs."""
