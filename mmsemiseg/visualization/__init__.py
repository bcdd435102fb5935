"""What the tools for figures share. Nothing of the package imports it."""
