"""What a face does besides speaking: blinks, darts of the eyes, brows, nods, breath, listening; and a person's manner of it."""
