"""The three tasks of a session: the split, the examples, and what training and test share."""
