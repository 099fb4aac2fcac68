"""What became of it: the recipients' reports on use."""
