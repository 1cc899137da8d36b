"""What is reported: scores of finished episodes, baselines beside them, tables."""
