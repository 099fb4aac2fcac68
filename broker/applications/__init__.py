"""Who may ask for what, and who said so: applications, decisions, grants."""
