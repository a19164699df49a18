"""Three convolutions and three fully connected layers."""

from torch import nn

from bnnbench.nets.convolutional import Convolutional


class Conv3FC3(Convolutional):
    """Convolutions 32@5, 64@5, 128@5, each with a 3x3 pooling of stride 2; fully connected 512-1000-1000-classes.

    The network "3Conv3FC" of Shridhar et al. 2019 (arXiv 1901.02731), but with ReLU; of the kind of LeCun et al. 1998.
    1,781,034 parameters for one channel and ten classes.

    Args:
        channels: of the images, which are 32 x 32.
        classes: number of outputs.
    """

    def __init__(self, channels: int, classes: int) -> None:
        features = nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 128, 5, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        classifier = nn.Sequential(
            nn.Linear(512, 1000), nn.ReLU(),
            nn.Linear(1000, 1000), nn.ReLU(),
            nn.Linear(1000, classes),
        )  # fmt: skip
        super().__init__(features, classifier)
