"""The studies one by one: each file has one function from files and settings to files, which tells a listener."""
