"""What depends on the backend: derivatives, fused operations, precision, and Keras' own internals."""
