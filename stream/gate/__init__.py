"""A release gate: whether a model is good enough, with exit codes for CI."""
