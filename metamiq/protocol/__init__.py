"""What was planned before the evidence was pooled, and which analyses of an output keep to it."""
