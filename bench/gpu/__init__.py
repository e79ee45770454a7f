"""One round on a GPU: cases, clock, model of time, report."""
