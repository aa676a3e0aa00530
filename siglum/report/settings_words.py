"""What settings are called on pages about studies."""

NAMES = {
    "arm": "way to train",
    "model": "network",
    "data": "training pictures",
    "samples_per_class": "pictures a class",
    "kernel_size": "kernel size",
    "batch_size": "batch size",
    "init": "start",
    "lr": "learning rate",
}


def setting(name: str) -> str:
    """Return a setting's name in words."""
    return NAMES.get(name, name.replace("_", " "))
