"""Stored episodes and judgements, and scoring them again."""
