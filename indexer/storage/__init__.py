"""Where a store's files are: a local folder or an object store."""
