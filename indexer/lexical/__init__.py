"""The words of a version's products: written beside its index, mapped by readers, scored by BM25."""
