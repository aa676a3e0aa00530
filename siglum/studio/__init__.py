"""The page on which signs are drawn, taught, tried and corrected; needs no torch."""
