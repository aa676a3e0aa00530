"""`python -m siglum`."""

from siglum.cli import main

if __name__ == "__main__":
    main()
