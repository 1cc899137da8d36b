"""Where the pipeline finds videos and what is said of them: one file per source."""
