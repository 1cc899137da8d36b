"""Studies: several ways of training compared over seeds, from one command to one page."""
