"""Looking into a run of reinforcement learning: its stored rollouts read back, their frames made
again, a page."""
