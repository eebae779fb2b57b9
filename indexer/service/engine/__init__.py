"""One owner of the live version that answers what waits, in batches, within limits of work and time."""
