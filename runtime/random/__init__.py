"""PyTorch's random numbers, seed for seed: the stream of words, and what is drawn from it."""
