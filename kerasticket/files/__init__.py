"""What every reader of files does first: sizes that are believed, members and arrays of archives, digests, JSON."""
