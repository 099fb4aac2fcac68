"""Who is asking: organisations, people, clients, tokens."""
