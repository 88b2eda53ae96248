"""What every other module may use and what itself knows nothing of data, layers or training.

`cpp` is the only module that imports the compiled core. The others check arguments, write files, hold locks, draw
random numbers, import parts of the package on first use, and make objects from names and configs.
"""

from __future__ import annotations
