"""From the store to aligned tables of scores; nothing here draws."""
