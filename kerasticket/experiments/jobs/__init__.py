"""What studies are made of: each file has one function from files and settings to files, which tells a listener."""
