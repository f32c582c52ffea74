"""What the options of several verbs mean."""
