"""What the command line is made of: options, commands, and what they print."""
