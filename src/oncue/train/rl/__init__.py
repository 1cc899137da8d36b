"""Reinforcement learning: rollouts, scores, credit, update."""
