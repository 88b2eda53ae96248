"""Random trainings of random networks: their samples, layers and steps, as programs and as formulas in float64.

A `Case` is a training as data: `samples.py`, `layers.py` and `steps.py` draw its parts, and write them as lines of a
program that a user could have written. `reference.py` computes the same training by formulas alone. `runs.py` runs
programs, `variants.py` has those that must end with the same bits, and `shrinking.py` looks for a smaller failure.
"""
