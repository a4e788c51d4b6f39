"""Sparsity and kept weights of every layer in TensorBoard, while a model trains."""

from pathlib import Path

import keras

from kerasticket import masks
from kerasticket.backend.event_files import EventWriter
from kerasticket.files.atomic import check_writable
from kerasticket.tickets import masking


class SparsityTensorBoard(keras.callbacks.Callback):
    """Writes, at the end of epochs, the sparsity of each masked weight and of all, and histograms of what is kept.

    Beside `keras.callbacks.TensorBoard`, in a folder of its own: `tensorboard --logdir log_dir` shows it as the run
    "sparsity", with the scalars `sparsity/all` and `sparsity/<path>`, shares of the prunable weights, and the
    histograms `kept/<path>`. Neither TensorBoard nor TensorFlow as backend is needed for writing. Put it after a
    callback that prunes at the end of epochs, so that it sees the mask of that end.

    Args:
        log_dir: of TensorBoard.
        every: epochs from one record to the next; the first epoch is always written.

    Raises:
        ValueError: `every` is below 1; at the beginning of the training, a folder that cannot be written to or a model
            without masks.

    >>> SparsityTensorBoard("logs", every=5).folder
    PosixPath('logs/sparsity')
    """

    def __init__(self, log_dir: str | Path, *, every: int = 1):
        super().__init__()
        if not (isinstance(every, int) and every >= 1):
            raise ValueError(f"Expected every, a whole number of at least 1. Received: every={every!r}")
        self.folder, self.every = Path(log_dir) / "sparsity", every

    def on_train_begin(self, logs=None):
        masking.require_masked(self.model)
        check_writable(self.folder)
        self._writer, self._first = EventWriter(self.folder), -1

    def on_epoch_end(self, epoch, logs=None):
        self._first = epoch if self._first < 0 else self._first
        if (epoch - self._first) % self.every == 0:
            self._record(epoch)

    def on_train_end(self, logs=None):
        self._writer.close()

    def _record(self, epoch: int) -> None:
        mask, params = masking.get_mask(self.model), masking.get_params(self.model)
        self._writer.scalar("sparsity/all", masks.sparsity(mask), epoch)
        for path, kept in mask.items():
            self._writer.scalar(f"sparsity/{path}", 1 - kept.mean(), epoch)
            self._writer.histogram(f"kept/{path}", params[path][kept], epoch)
        self._writer.flush()  # so that a training that is watched, or killed, has all of its epochs in the file
