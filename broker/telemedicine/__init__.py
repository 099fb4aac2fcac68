"""A remote consultation: data open when it begins and close when it ends, and every step can be traced (TM-5.4, TM-7)."""
