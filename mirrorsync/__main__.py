"""`python -m mirrorsync` is `mirrorsync`."""

from mirrorsync.cli.main import main

if __name__ == "__main__":
    main()
