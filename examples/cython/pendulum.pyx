# cython: language_level=3, freethreading_compatible=True
"""A pendulum on its head, held up by a network that is asked at every step."""

from libc.math cimport fabs, sin

from engine.cython_api cimport GOOD, Predictor


def balance(Predictor policy, double angle, double speed, long steps):
    """How many of `steps` of 2 ms the pendulum stays within a radian of upright.

    Args:
        policy: torque from (angle, speed).
        angle: in radians, 0 for upright.
        speed: in radians per second.
        steps: at most so many.
    """
    cdef float state[2]
    cdef float torque = 0
    cdef long step = 0
    if (policy.inputs, policy.outputs) != (2, 1):
        raise ValueError("`policy` must make one number of two")
    with nogil:
        while step < steps and fabs(angle) < 1:
            state[0], state[1] = <float>angle, <float>speed
            if policy.predict(state, 1, &torque) != GOOD:
                break
            speed += 0.002 * (9.81 * sin(angle) + torque)
            angle += 0.002 * speed
            step += 1
    return step
