"""Training objectives: what an episode earns."""
