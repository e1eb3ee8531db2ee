"""The spline engine of coupling flows: rational-quadratic splines, eager in PyTorch and compiled by numba."""
