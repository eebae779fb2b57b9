"""What a refresh is made of, in the order of the data: from a catalogue to a version that is live."""
