"""A convolutional network small enough for Hamiltonian Monte Carlo."""

from torch import nn

from bnnbench.nets.convolutional import Convolutional


class SmallConv(Convolutional):
    """Convolutions 8@3, 16@3 with padding, each with a 2x2 pooling, then one linear layer; for 8 x 8 pixels.

    1,898 parameters for one channel and ten classes.

    Args:
        channels: of the images, which are 8 x 8.
        classes: number of outputs.
    """

    def __init__(self, channels: int, classes: int) -> None:
        features = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        super().__init__(features, nn.Linear(64, classes))
