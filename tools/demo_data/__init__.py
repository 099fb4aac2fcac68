"""Writes the demo hospital's own patients: ``python -m tools.demo_data``. The same program gives the same bytes.

Every person in it is invented. Resident numbers carry the region code 999999, which no place has.
"""
