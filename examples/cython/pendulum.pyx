# cython: language_level=3, freethreading_compatible=True
"""An inverted pendulum that a network keeps upright. The loop predicts at every step."""

from libc.math cimport fabs, sin

from engine.cython_api cimport GOOD, Predictor


def balance(Predictor policy, double angle, double speed, long steps):
    """Returns for how many steps of 2 ms the pendulum stays within a radian of upright.

    Args:
        policy: network that predicts the torque from (angle, speed).
        angle: initial angle in radians; 0 is upright.
        speed: initial speed in radians per second.
        steps: the most steps.
    """
    cdef float state[2]
    cdef float torque = 0
    cdef long step = 0
    if (policy.inputs, policy.outputs) != (2, 1):
        raise ValueError("`policy` must have two inputs and one output")
    with nogil:
        while step < steps and fabs(angle) < 1:
            state[0], state[1] = <float>angle, <float>speed
            if policy.predict(state, 1, &torque) != GOOD:
                break
            speed += 0.002 * (9.81 * sin(angle) + torque)
            angle += 0.002 * speed
            step += 1
    return step
