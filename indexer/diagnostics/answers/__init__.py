"""What sessions are answered, and how far predictions can be trusted."""
