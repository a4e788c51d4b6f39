"""What to prune (criteria), where (scopes), as what (structures), and when (schedules, callbacks)."""
