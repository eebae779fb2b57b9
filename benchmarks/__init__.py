"""What was measured, one folder per question."""
