"""What to prune (criteria), where (scopes), and when (callbacks)."""
