"""As `indexer.catalogue.catalogue`."""

from indexer.catalogue.catalogue import Catalogue, find_products

__all__ = ["Catalogue", "find_products"]
