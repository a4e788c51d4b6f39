"""Studies: runs on disk, searches that resume, and the figures of the paper."""
