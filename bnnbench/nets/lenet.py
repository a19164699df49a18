"""LeNet-5 with ReLU activations and max pooling."""

from torch import Tensor, nn


class LeNet(nn.Module):
    """Convolutions 6@5, 16@5, each with a 2x2 pooling; fully connected 400-120-84-classes.

    LeCun et al. 1998; as in Shridhar et al. 2019 (arXiv 1901.02731), but with ReLU. 61,706 parameters for one channel
    and ten classes.

    Args:
        channels: of the images, which are 32 x 32.
        classes: number of outputs.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(400, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(),
            nn.Linear(84, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, 32, 32] -> [B, classes]."""
        return self.classifier(self.features(x).flatten(1))
