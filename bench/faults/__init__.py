"""Faults of processes, disks and files, injected into the command line: what is lost, what is said, and whether that is right."""
