"""Networks that are no chains, and networks with traced Python: their data, and how the contenders write them."""
