"""What a run needs of a machine and its base models, checked before the first step (`w2s doctor`)."""
