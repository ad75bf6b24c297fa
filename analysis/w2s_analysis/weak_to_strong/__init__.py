"""What a report says of weak-to-strong reasoning alone."""
