"""How long data are kept, what stops their end, and their destruction: by two people, provably, for good (PI-3.5)."""
