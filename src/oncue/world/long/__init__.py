"""Films of minutes with short events: a question is about one of them, and the others mislead."""
