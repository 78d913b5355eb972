"""``python -m lutmac`` is the command ``lutmac``."""

from lutmac.cli.main import main

main()
