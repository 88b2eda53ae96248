"""The training of many models at once."""
