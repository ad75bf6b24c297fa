"""The laptop lab: authors with traits, a tokenizer, and the pretraining of the small base models."""
