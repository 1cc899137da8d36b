"""How good it was: marks of judges, PAUC, duplicates. Pure functions of what was said and when; no torch."""
