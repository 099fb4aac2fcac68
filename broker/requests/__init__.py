"""What patients ask of the hospital about their own data (PIPL 44 to 50): copies, corrections, restriction, deletion, explanation."""
