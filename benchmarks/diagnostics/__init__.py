"""What a diagnosis costs."""
