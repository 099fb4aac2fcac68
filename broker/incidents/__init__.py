"""When something went wrong: report, assess, contain at once, notify, investigate, learn (PI-7, QA-4.3, TM-5.5)."""
