"""Records that have been, through the machines of the live worker."""
