"""Files as columns: formats, dialects, numbers, times."""
