"""Write the metrics of a training for TensorBoard."""

from pathlib import Path

from siglum.errors import require_extra
from siglum.lab.train_run import Watch
from siglum.lab.training_loop import Epoch, StepProgress


def tensorboard_writer(folder: Path, watch: Watch = lambda _: None) -> Watch:
    """Return a `watch` of `train` that writes each epoch to an event file in `folder`.

    Values are plotted over the number of images shown since the start. `watch` is called with
    every record, too. Raises MissingExtra if TensorBoard is not installed.
    """
    with require_extra("Logging to TensorBoard", "tensorboard"):
        from torch.utils.tensorboard import SummaryWriter

    writer = None

    def write(record: StepProgress | Epoch) -> bool | None:
        nonlocal writer
        if isinstance(record, Epoch):
            writer = writer or SummaryWriter(folder)  # not earlier: a run's folder must be new
            for point in record.curve:
                writer.add_scalar("loss/train", point.loss, point.examples)
                writer.add_scalar("accuracy/train", point.accuracy, point.examples)
            for part in ("val", "test"):
                for measure in ("loss", "accuracy"):
                    if (value := getattr(record, f"{part}_{measure}")) is not None:
                        writer.add_scalar(f"{measure}/{part}", value, record.examples)
            writer.flush()
        return watch(record)

    return write
