"""Asking policy: may this data leave, to whom, reduced to what?"""
