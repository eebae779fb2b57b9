"""What each route does, and what its users are told of it."""
