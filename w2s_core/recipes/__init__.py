"""Methods as recipes: plain functions of steps."""
