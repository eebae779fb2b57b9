"""Products and their vectors at rest: a LanceDB table, and the files around it."""
