"""TissueMNIST: 212,746 grey pictures of kidney cells, 28x28 pixels, 8 classes.

Source: J. Yang et al., MedMNIST v2, Scientific Data 2023; out of BBBC051 (A. Woloshuk et al.,
    Cytometry A 2021; V. Ljosa et al., Nature Methods 2012).
Licence: CC BY 4.0.
Splits: official training and test images, 165,466 and 47,280; the 23,640 validation images are not
    used, as in the benchmark of SORA.
Files: tissuemnist.npz in the data folder.
Radius: 3/255, at which the benchmark of SORA attacks this set.
"""

from pathlib import Path

from bench.data import Info, Source, _medmnist
from bench.view import Augment

INFO = Info(
    shape=(1, 28, 28),
    classes=8,
    train=165_466,
    test=47_280,
    mean=(0.10204512936,),
    std=(0.10002610110,),
    eps=3,
    augment=Augment(flip=True, degrees=10),
    files={"tissuemnist.npz": "md5:ebe78ee8b05294063de985d821c1c34b"},
    download=125_000_000,  # rounded
)


def read(folder: Path) -> Source:
    """Read the official file, downloading it if it is not there.

    Raises:
        ValueError: the file is truncated or not of this set.
        OSError: there is nothing to read and no network.
    """
    return _medmnist.read(folder, "tissuemnist", INFO)
