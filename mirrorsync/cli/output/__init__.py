"""Output for people and for logs."""
