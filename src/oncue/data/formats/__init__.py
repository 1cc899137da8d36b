"""Proactive dialogues as files of other programs, and as Parquet: one file per format."""
