"""What the users of the routes are told: schemas, the OpenAPI document, the page."""
