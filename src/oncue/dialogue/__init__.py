"""Written dialogues: reading, building and showing them."""
