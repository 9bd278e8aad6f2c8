"""What integration tests share: the real processes, topics, tables and relation sets of one installation."""
