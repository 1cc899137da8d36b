"""Watching: one video, one policy, and its timed replies as lines, captions and a page."""
