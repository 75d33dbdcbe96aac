"""`python -m console.cli` is `ichor`."""

from console.cli.entry import main

if __name__ == "__main__":
    main()
