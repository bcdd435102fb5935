"""What the tools in tools/benchmark share. Nothing of the package imports it."""
