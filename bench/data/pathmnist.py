"""PathMNIST: 97,176 colour patches of colon tissue under the microscope, 28x28 pixels, 9 classes.

Source: J. Yang et al., MedMNIST v2, Scientific Data 2023; out of J. N. Kather et al., PLOS Medicine
    2019 (NCT-CRC-HE-100K, CRC-VAL-HE-7K).
Licence: CC BY 4.0.
Splits: official training and test images, 89,996 and 7,180, the latter from another hospital; the
    10,004 validation images are not used, as in the benchmark of SORA.
Files: pathmnist.npz in the data folder.
"""

from pathlib import Path

from bench.data import Info, Source, _medmnist
from bench.view import Augment

INFO = Info(
    shape=(3, 28, 28),
    classes=9,
    train=89_996,
    test=7_180,
    mean=(0.740545, 0.53298219, 0.70582885),
    std=(0.12368222, 0.17676253, 0.12443067),
    eps=8,
    augment=Augment(flip=True, degrees=10),
    files={"pathmnist.npz": "md5:a8b06965200029087d5bd730944a56c1"},
    download=205_615_438,
)


def read(folder: Path) -> Source:
    """Read the official file, downloading it if it is not there.

    Raises:
        ValueError: the file is truncated or not of this set.
        OSError: there is nothing to read and no network.
    """
    return _medmnist.read(folder, "pathmnist", INFO)
