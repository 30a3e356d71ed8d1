"""Sources of galaxies, their preparation and their split."""
