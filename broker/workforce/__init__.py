"""Who is qualified: licences and scopes of practice of people and institutions, and who was trained (TM-5.1, PI-4)."""
