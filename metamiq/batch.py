"""Many fits at once, by arrays: `random_effects` for effect sizes, `random_effects_bounded` for points and bounds."""

from metamiq.pooling.batch import BatchFits, random_effects
from metamiq.pooling.batch_bounded import BoundedBatch, random_effects_bounded

__all__ = ["BatchFits", "BoundedBatch", "random_effects", "random_effects_bounded"]
