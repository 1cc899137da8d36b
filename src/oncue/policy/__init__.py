"""Who answers: a local model with a carried KV cache, or a script. Importing this package does not import torch."""
