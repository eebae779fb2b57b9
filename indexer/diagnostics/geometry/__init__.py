"""The geometry of a space: alignment and uniformity, rank, isotropy, hubs and duplicates."""
