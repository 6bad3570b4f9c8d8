"""How far an answer can be trusted: deletion, subsets, resampling, simulation."""
