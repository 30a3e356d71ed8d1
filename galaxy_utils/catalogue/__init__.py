"""Own galaxies in, catalogue out: sources of images, cut into parts, classified on Dask, written part by part."""
