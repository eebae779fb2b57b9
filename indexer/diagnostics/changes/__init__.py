"""What moved between two versions of a store, and how its versions went."""
