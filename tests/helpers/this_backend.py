"""The backend that is under test."""

import os

BACKEND = os.environ["KERAS_BACKEND"]  # conftest.py sets it
