"""`lutmac version`."""


def version() -> None:
    """Print the version.

    Example: lutmac version
    """
    from importlib.metadata import version as installed  # noqa: PLC0415 - slow to import, needed here only

    print(f"lutmac {installed('lutmac')}")
