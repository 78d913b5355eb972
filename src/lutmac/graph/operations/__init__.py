"""The operations, one class in one file each. native/ops/ has a file of the same name for each that runs."""
