"""How good a set of proactive dialogues is: filters, statistics, checks."""
