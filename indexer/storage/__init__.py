"""Where a store's files are: a folder or an object store, and small records in it."""
