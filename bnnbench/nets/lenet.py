"""LeNet-5 with ReLU activations and max pooling."""

from torch import nn

from bnnbench.nets.convolutional import Convolutional


class LeNet(Convolutional):
    """Convolutions 6@5, 16@5, each with a 2x2 pooling; fully connected 400-120-84-classes.

    LeCun et al. 1998; as in Shridhar et al. 2019 (arXiv 1901.02731), but with ReLU. 61,706 parameters for one channel
    and ten classes.

    Args:
        channels: of the images, which are 32 x 32.
        classes: number of outputs.
    """

    def __init__(self, channels: int, classes: int) -> None:
        features = nn.Sequential(
            nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        classifier = nn.Sequential(
            nn.Linear(400, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(),
            nn.Linear(84, classes),
        )  # fmt: skip
        super().__init__(features, classifier)
