"""The processes of a server: workers, the one that keeps their sessions, and the one that replaces them."""
