"""`python -m devaria`, for where the `devaria` command is not on the path."""

from devaria.cli import main

main()
