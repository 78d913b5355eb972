"""Making low-bit models out of models: calibration, methods, and what they leave on disk."""
