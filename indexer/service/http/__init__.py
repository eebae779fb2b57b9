"""An application and what surrounds it, in the order of a request: connection, access, requests, routes, answers."""
