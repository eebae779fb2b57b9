"""What a request asks for: JSON to checked values."""
