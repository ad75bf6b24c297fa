"""Tables and figures that any recipe has."""
