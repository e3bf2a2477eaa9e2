"""The claims, one file each. Gates, criteria and bounds are fixed before looking, and versioned."""
