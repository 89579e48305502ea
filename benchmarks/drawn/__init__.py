"""Drawings of docs/detectors; `benchmarks.pictures` finds every module here."""
