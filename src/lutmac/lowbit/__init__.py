"""The low-bit matrix: what it is, its packing, a quantiser, and the product that researchers call."""
