"""Measurements behind the figures that the project promises. `python -m bench` prints them all."""
