"""Who answers a turn: a model behind a chat server, a script, and filters before a policy."""
