/* What `_core` offers to other compiled modules, in the capsule `engine._core.predictor_api`: plain C, for Cython. */
#ifndef ENGINE_PREDICTOR_API_H
#define ENGINE_PREDICTOR_API_H

enum { ENGINE_GOOD = 0, ENGINE_NOT_FINITE = 1, ENGINE_NO_TOKEN = 2 };

typedef struct {
  /* A predictor for a Program (PyObject*), by so many rows at a time; null with an exception. Needs the GIL. */
  void* (*open)(void* program, long long together);
  /* Sizes of its rows and of their outputs. */
  long long (*inputs)(const void* predictor);
  long long (*outputs)(const void* predictor);
  /* These two need no GIL, and `refresh`, which may wait for a step of a training, must not have it. */
  void (*refresh)(void* predictor);
  int (*predict)(void* predictor, const float* x, long long rows, float* out);
  void (*close)(void* predictor);
} engine_predictor_api;

#endif
