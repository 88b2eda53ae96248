"""What every other module may use and what itself knows nothing of data, layers or training.

The modules check arguments, write files, hold locks, keep the state of the random numbers, import parts of the package on
first use, and make objects from names and configs.
"""

from __future__ import annotations
