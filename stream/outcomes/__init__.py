"""Verdicts on performance, from labels that arrive late."""
