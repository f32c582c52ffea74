"""The command line: arguments, rendering, progress, logs. Only this floor reads argv and uses the terminal."""
