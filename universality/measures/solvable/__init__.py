"""What settings that are solved exactly predict, and what is measured of them."""
