from Cython.Build import cythonize
from setuptools import setup

# `engine` has only to be installed: `cythonize` finds engine/cython_api.pxd there.
setup(name="pendulum", ext_modules=cythonize("pendulum.pyx"))
