"""Looking inside a network: arrays out, nothing is drawn here."""
