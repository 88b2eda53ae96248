# cython: language_level=3, embedsignature=True, embedsignature.format=clinic, freethreading_compatible=True
# A third of the module would be methods as Python functions, and what says that nobody can pickle a Predictor.
# cython: binding=False, auto_pickle=False
"""Predictions from loops that don't know Python: for `cimport` in Cython, like scipy.linalg.cython_blas.

.. code-block:: cython

    from engine.cython_api cimport GOOD, Predictor

    def simulate(Predictor policy, long steps):
        cdef float state[4], action[2]
        ...
        with nogil:
            for step in range(steps):
                if policy.predict(state, 1, action) != GOOD:
                    break
                ...

`cythonize` finds the declarations in the installed package; neither headers nor libraries have to be named.
"""

from cpython.pycapsule cimport PyCapsule_Import

cdef extern from "bindings/predictor_api.h":
    ctypedef struct engine_predictor_api:
        void* (*open)(void* program, long long together) except NULL
        long long (*inputs)(const void* predictor) noexcept nogil
        long long (*outputs)(const void* predictor) noexcept nogil
        void (*refresh)(void* predictor) noexcept nogil
        int (*predict)(void* predictor, const float* x, long long rows, float* out) noexcept nogil
        void (*close)(void* predictor) noexcept nogil

cdef const engine_predictor_api* api = <const engine_predictor_api*>PyCapsule_Import(
    "engine._core.predictor_api", 0)


cdef class Predictor:
    """A model's outputs for whoever has no Python at hand.

    `cdef int predict(self, const float* x, Py_ssize_t rows, float* out) noexcept nogil` writes (rows, outputs)
    float32 to `out` for the (rows, inputs) float32 at `x`, to the bits of `model.predict`. It takes neither the GIL nor
    a lock, allocates nothing and starts no threads, so it may be called from any thread, but from one at a time:
    threads that ask side by side have a Predictor each. It answers GOOD (0), NOT_FINITE where `x` holds NaN or an
    infinity, or NO_INDEX where the model's first layer takes indices, and something else came. What is in `out` is of
    no account then.

    A Predictor has a copy of the weights that the model had when it was made: `fit`, `compile` and `set_weights` may
    go on beside it and change nothing here, until `refresh` takes the weights of now.

    Args:
        model: a model with weights, all of whose layers are computed without Python.
        inputs: numbers in a sample that the caller will pass; refused unless the model takes as many, since `predict`
            can't tell. None leaves that to the caller.
        outputs: the same of what comes out.
        together: rows that are computed together. More take less time each, if `predict` gets so many.

    Attributes:
        inputs: numbers in a sample, of any shape.
        outputs: numbers that come out for it.
        together: as given.

    Raises:
        TypeError: if `model` is no model, or a number no integer.
        ValueError: if the model has no weights yet, other sizes, or a layer written in Python.
    """

    def __cinit__(self, model, *, inputs=None, outputs=None, together=1):
        from engine._base.checks import integer
        from engine.models.model import Model

        if not isinstance(model, Model):
            raise TypeError(f"`model` must be a model such as Sequential, got {type(model).__name__}")
        if model._built_graph.program is None:
            raise ValueError(
                "`model` has no weights yet: give its first layer an `input_shape`, or call "
                "model.build((None, ...)) or `fit` before")
        self.together = integer(together, "together", 1, 2**20)
        self._model, self._program = model, model._built_graph.program
        self._handle = api.open(<void*>self._program, self.together)
        self.inputs, self.outputs = api.inputs(self._handle), api.outputs(self._handle)
        for name, wanted, has in (("inputs", inputs, self.inputs), ("outputs", outputs, self.outputs)):
            if wanted is not None and integer(wanted, name, 1) != has:
                raise ValueError(f"`{name}` is {wanted}, but the model has {has}")

    def __dealloc__(self):
        if self._handle != NULL:
            api.close(self._handle)

    def refresh(self):
        """Take the weights that the model has now; no thread may be in `predict` meanwhile.

        Raises:
            ValueError: if the model has been given other layers.
        """
        if self._model._built_graph.program is not self._program:
            raise ValueError("the model has been given other layers since: make a new Predictor")
        with nogil:
            api.refresh(self._handle)

    cdef int predict(self, const float* x, Py_ssize_t rows, float* out) noexcept nogil:
        return api.predict(self._handle, x, rows, out)
