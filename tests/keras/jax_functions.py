"""The functions of `keras.ops` in JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


class JaxOps:
    """JAX's functions, by the names that they have in `engine.ops`."""

    softsign = staticmethod(jax.nn.soft_sign)

    @staticmethod
    def cast(x: Any, dtype: str) -> Any:
        return jnp.asarray(x).astype(dtype)

    def __getattr__(self, name: str) -> Any:
        modules = (jnp, jax.nn, jax.scipy.special, jax.lax, jax.ops)
        return next(getattr(module, name) for module in modules if hasattr(module, name))
