"""Products upserted and deleted: a revision of the live version, encoded, written and published at once."""
