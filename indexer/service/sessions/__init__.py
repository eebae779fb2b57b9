"""Sessions that are kept between requests, in memory or in Redis, and what shoppers did with the answers they saw."""
