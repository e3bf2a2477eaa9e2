"""Whether a result set that somebody else made holds together, and whether a plugin keeps its contract.

Of a result set everything is recomputed that can be without executing anything from it: ids from what was
asked, hashes of recordings, verdicts and tables from measurements. What cannot be recomputed is noted.
"""
