"""Living evidence: what is implausible in it, what was added to it, what that changed."""
