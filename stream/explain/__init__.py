"""``driftbus explain``: an incident or an episode, told to a person."""
