"""A look at a config, its data and the machine before a training."""
