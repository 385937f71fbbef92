"""The command line: parse, call one function, print. Heavy imports happen inside the commands."""

from hilum.cli.app import main

__all__ = ["main"]
