"""How a network is trained: settings, loop, history, checkpoints."""
