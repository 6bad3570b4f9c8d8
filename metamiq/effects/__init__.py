"""From what a report states to an effect size, its variance, or a bound."""
