"""The tf.data.Dataset that `pipeline` returns, which has a position; apart, as it needs TensorFlow at once."""

from typing import TYPE_CHECKING, Any

from kerasticket.data.positions import Position, checked
from kerasticket.data.tensorflow_ops import tensorflow

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = tensorflow()


class Pipeline(tf.data.Dataset):
    """A dataset whose next iteration is the epoch at `position`.

    Args:
        batches: a dataset that reads and advances `stream.counter` whenever an iteration begins.
        stream: makes the batches.
    """

    def __init__(self, batches: "tf.data.Dataset", stream: Any) -> None:
        self._input_dataset, self.stream = batches, stream
        super().__init__(batches._variant_tensor)

    @property
    def position(self) -> Position:
        """(round, epoch) of the next iteration; one that has begun is not disturbed by setting it.

        Raises:
            ValueError: set to anything but two whole numbers from 0.
        """
        return self.stream.counter.next

    @position.setter
    def position(self, position: tuple[int, int]) -> None:
        self.stream.counter.next = checked(position)

    def _inputs(self) -> list:
        return [self._input_dataset]

    @property
    def element_spec(self):
        return self._input_dataset.element_spec
