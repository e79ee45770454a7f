"""Activation functions for neural networks: written in a small language, compiled to fused kernels, discovered by evolution."""

from grammar import DSLError
from kernels.module import Activation, activation

__all__ = ["Activation", "DSLError", "activation"]
