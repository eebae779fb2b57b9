"""Looking at a corpus before training on it: figures, warnings, and the page that shows them."""
