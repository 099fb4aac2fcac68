"""The point where data leaves."""
