"""Corruptions of images as families of test sets: MNIST-C and CIFAR-10-C, computed here from keyed noise."""

from bnnbench.tasks.corruptions.families import ColourCorruptions, DigitCorruptions

__all__ = ["ColourCorruptions", "DigitCorruptions"]
