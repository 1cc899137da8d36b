"""Examples to train on and gold files to score against: reading, drawing, checking."""
