"""A cohort on trial: what would mislead whoever learns from it, and what it holds."""
