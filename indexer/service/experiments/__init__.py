"""Which answers are compared, who gets which, and what they did."""
