"""What is wanted and what is held: the questions that come before the difference."""
