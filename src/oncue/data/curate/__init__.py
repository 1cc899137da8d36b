"""Training rows for retrieval from annotations with time segments: one file per source."""
