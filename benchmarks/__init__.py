"""What driftbus costs, against what it is made of and what it replaces: ratios measured in one run."""
