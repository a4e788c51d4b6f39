"""Where real images come from: TensorFlow Datasets, folders, archives, the embedded digits."""
