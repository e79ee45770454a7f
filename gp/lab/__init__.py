"""The lab: what an activation is worth, measured by training small networks that use it."""
