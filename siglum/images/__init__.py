"""Images: where they come from, how they are decoded, and what their ink is."""
