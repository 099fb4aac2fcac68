"""Which days are worked: public holidays and working weekends, year by year, with the notice that says so."""
