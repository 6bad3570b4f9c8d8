"""From effect sizes and variances to a fit."""
