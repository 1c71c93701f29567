"""The equations as inner loops of compiled code. Each formula stands here once; training and `functions` both use it.

=======  ===========================================================================
tag      loop
=======  ===========================================================================
F1       `layer.multiply`
F2       `activation.activate`, for tanh and the other activations
F3       `loss.softmax_columns`
F4       `loss.losses_of_columns`, after F3
B1       `loss.output_delta_columns`, after F3
B2       `tile` in `kernels.simd.products`, with the inputs as `LeftColumns`
B3       `layer.sum_rows`
B4       `layer.multiply`, then `activation.multiply_by_derivative`
U1       `solver.step_down`, and `solver.solver_step` for the other solvers
=======  ===========================================================================

`elementary` has tanh, exp and log of one number, and `shuffle` the random order of an epoch.
"""
