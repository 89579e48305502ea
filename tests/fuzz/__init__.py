"""Bad input at random: what is thrown at every reader of driftbus, and what must never come of it."""
