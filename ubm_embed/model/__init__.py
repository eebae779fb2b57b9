"""The User Behavior Model: its encoders, heads, towers and checkpoints."""
