"""One process that answers, or several that share a socket: how they start, are replaced, and end."""
