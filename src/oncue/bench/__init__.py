"""Measuring the engine: one small function per figure, each measured in the run that reports it."""
