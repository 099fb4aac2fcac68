"""Which keys this installation has had, which are good now, and how one follows another."""
