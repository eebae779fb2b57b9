"""`python -m cli` is `ubm-embed`."""

from cli.main import main

main()
