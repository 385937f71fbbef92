"""`python -m hilum`: the command line, for launchers that start modules."""

from hilum.cli import main

if __name__ == "__main__":
    main()
