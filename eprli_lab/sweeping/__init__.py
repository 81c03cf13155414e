"""The study: arms x seeds, workers, resume (Optuna ask and tell)."""
