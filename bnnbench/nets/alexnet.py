"""AlexNet for images of 32 x 32 pixels."""

from torch import nn

from bnnbench.nets.convolutional import Convolutional


class AlexNet(Convolutional):
    """Convolutions 64@11 (stride 4), 192@5, 384@3, 256@3, 128@3; 2x2 pooling after the first, second and fifth; one
    linear layer 128-classes.

    After Krizhevsky et al. 2012, in the small form of Shridhar et al. 2019 (arXiv 1901.02731), but with ReLU.
    2,160,458 parameters for one channel and ten classes.

    Args:
        channels: of the images, which are 32 x 32.
        classes: number of outputs.
    """

    def __init__(self, channels: int, classes: int) -> None:
        features = nn.Sequential(
            nn.Conv2d(channels, 64, 11, stride=4, padding=5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        classifier = nn.Linear(128, classes)
        super().__init__(features, classifier)
