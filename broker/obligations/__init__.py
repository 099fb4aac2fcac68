"""What a recipient still owes after the data have left: the ledger of obligations, and recalls (PI-3.5, RS-5.3.4, PIPL 47)."""
