"""Compiling, caching and launching kernels, and what torch sees of them."""
