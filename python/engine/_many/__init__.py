"""Many models at once: their training on several cores, and ensembles of them."""
