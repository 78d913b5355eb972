"""From a model file to packed matrices: names, formats, checks, conversion."""
