"""Files of distilled sets: our own and those of other projects."""
