"""Long films with one short event that a question is about, and many that it is not about."""
