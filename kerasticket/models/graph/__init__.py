"""The graph of layers of Sequential and functional models: its calls, its channels, its constants, its costs."""
