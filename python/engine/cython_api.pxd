# What `cimport engine.cython_api` gives; the docstrings are in cython_api.pyx.

# What `predict` answers: fine; a number in `x` isn't finite; one is no index that the model's first layer knows.
cdef enum:
    GOOD = 0
    NOT_FINITE = 1
    NO_INDEX = 2

cdef class Predictor:
    cdef void* _handle
    cdef object _model, _program
    cdef readonly Py_ssize_t inputs, outputs, together

    # out (rows, outputs) from x (rows, inputs), both C-contiguous. May be called by one thread at a time.
    cdef int predict(self, const float* x, Py_ssize_t rows, float* out) noexcept nogil
