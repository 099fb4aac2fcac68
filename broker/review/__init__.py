"""Looking back: the quarterly review."""
