"""``driftbus doctor``: what is wrong with a deployment, and what it may do."""
