"""The sample shop, all of it generated: for the demo, the tests and runs at scale."""

from ubm_embed.data.sample_shop.shop import write_sample_shop

__all__ = ["write_sample_shop"]
