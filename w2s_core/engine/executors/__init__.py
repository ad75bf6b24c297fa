"""Who computes a graph: an inline loop, worker processes, or Ray tasks."""
