from Cython.Build import cythonize
from setuptools import setup

# `cythonize` finds engine/cython_api.pxd if `engine` is installed.
setup(name="pendulum", ext_modules=cythonize("pendulum.pyx"))
