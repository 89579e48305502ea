"""The helper for serving code."""
