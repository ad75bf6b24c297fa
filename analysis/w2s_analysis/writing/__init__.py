"""The forms of a report: tables, figure style, notes; without content."""
