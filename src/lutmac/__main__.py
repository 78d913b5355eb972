"""``python -m lutmac`` is the command ``lutmac``."""

from lutmac.cli.entry import main

main()
