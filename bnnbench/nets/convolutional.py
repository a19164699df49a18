"""What the convolutional networks share: features, then a classifier on all of them."""

from torch import Tensor, nn


class Convolutional(nn.Module):
    """x -> classifier(features(x)), for images of 32 x 32 pixels.

    Args:
        features: convolutional layers.
        classifier: from the features in one row an image to the outputs.
    """

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, 32, 32] -> [B, classes]."""
        return self.classifier(self.features(x).flatten(1))
