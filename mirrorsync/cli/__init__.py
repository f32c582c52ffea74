"""Floor 4: people. Arguments, rendering, progress, logs; alone reads argv, environment, terminal and directory."""
