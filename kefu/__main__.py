"""`python -m kefu`: the same as `kefu`."""

from kefu.cli import main

if __name__ == "__main__":
    main()
