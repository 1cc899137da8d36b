"""How good it was: metrics, and the judges they ask."""
