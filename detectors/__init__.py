"""The mathematics of drift: pure values and functions; no clock, no I/O, no randomness."""
