"""What the patient allowed: the consent registry."""
