"""`python -m metamiq`: the command line."""

from metamiq.cli import main

if __name__ == "__main__":
    main(prog_name="metamiq")
