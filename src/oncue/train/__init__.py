"""How a model learns: samples, losses, the loop, and the directory of a run."""
