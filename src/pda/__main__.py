"""`python -m pda`: the command line."""

from pda.cli import main

main()
