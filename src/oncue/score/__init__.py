"""Stored rollouts and recorded judgements as files, judges by name, and the reward once more from both. No torch."""
