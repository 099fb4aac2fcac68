"""Fuzzing of everything that reads bytes from outside: ``targets`` says what, ``__main__`` drives it with Atheris."""
