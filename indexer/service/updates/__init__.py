"""Changes of products that come over HTTP: they wait for one thread, which publishes them as revisions."""
