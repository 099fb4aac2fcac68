"""How policy itself changes: drafts, their tests, replay over past decisions, a second person's approval, a time from which on, a way back."""
