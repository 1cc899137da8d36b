"""What the benchmarks of proactive models share: streams, predictions, one way of scoring."""
