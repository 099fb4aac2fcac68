"""The tamper-evident log: nothing happens unrecorded, and nobody can rewrite what was recorded."""
