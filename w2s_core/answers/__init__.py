"""Final answers: extraction from responses, exact forms, and when two of them are the same."""
