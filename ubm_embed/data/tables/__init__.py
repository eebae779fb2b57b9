"""Tables on disk, read with checks and errors that name file, row and field."""
