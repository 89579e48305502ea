"""One self-contained page of what a replay saw."""
