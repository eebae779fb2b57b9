"""Sessions of a request to answers, and what is remembered of them."""
